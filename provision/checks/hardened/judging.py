"""Judges all controls of one type on one node."""

from __future__ import annotations

from collections.abc import Callable

from provision.checks.declare import CouldNotLook, Looker
from provision.checks.hardened.declared import Control, installed, of_type
from provision.checks.hardened.outcome import Judged, NotHere, Resource, Waits

Judge = Callable[[Resource, Looker], list[str]]
"""What is wrong with a resource, each with what was expected and seen; nothing when it holds.

Raises NotHere, Waits or CouldNotLook.
"""

CONDITIONS = {"unit": "units", "path": "paths"}
"""What a control's `when` may ask beside packages, and the part of the probe that answers."""


def judge(kind: str, controls: tuple[Control, ...], judge_one: Judge, look: Looker) -> Judged:
    """Hold what was seen against every control that has resources of a type."""
    found = Judged()
    for control, resources in of_type(controls, kind):
        _judge(control, resources, judge_one, look, found)
    return found


def _judge(
    control: Control, resources: list[Resource], judge_one: Judge, look: Looker, found: Judged
) -> None:
    name = control["id"]
    try:
        why = _absent(control, look)
    except CouldNotLook as error:
        found.unseen[name] = [str(error)]
        return
    if why is not None:
        found.apart[name] = why
        return
    apart = [_judge_one(name, resource, judge_one, look, found) for resource in resources]
    if any(name in told for told in (found.wrong, found.waits, found.unseen)):
        return
    if all(apart):
        found.apart[name] = apart[0]
    else:
        found.right.append(name)


def _judge_one(name: str, resource: Resource, judge_one: Judge, look: Looker, found: Judged) -> str:
    """Judge a resource; the reason where it means nothing here."""
    try:
        wrong = judge_one(resource, look)
    except NotHere as error:
        return str(error)
    except Waits as error:
        found.waits.setdefault(name, []).append(str(error))
    except CouldNotLook as error:
        found.unseen.setdefault(name, []).append(str(error))
    else:
        if wrong:
            found.wrong.setdefault(name, []).extend(wrong)
    return ""


def _absent(control: Control, look: Looker) -> str | None:
    """Why a control means nothing on the node, by its `when`."""
    for word, value in control.get("when", {}).items():
        if word == "package":
            there = value in installed(look)
        elif word == "unit":
            there = look("hardening", "units")[value].get("LoadState") != "not-found"
        else:
            there = value in look("hardening", CONDITIONS[word])
        if not there:
            return f"no {word} {value}"
    return None
