"""Stage configure: the roles that configure a node configure the tree, in their offline mode.

Ansible runs on this machine and its modules inside the sandbox, by our own connection plugin: in
the tree's root, as its root, with its own processes and without a network. What the roles cannot do
where nothing runs (start, reload, load into the kernel) they leave to the node's first start.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from provision.core.events import Event
from provision.core.paths import playbook
from provision.core.problems import HoldfastError, Problem
from provision.core.shapes import Model
from provision.engine.ansible import Ansible, Line, Outcome
from provision.engine.environment import Place
from provision.image import configuring, sources
from provision.image.definition import Definition
from provision.image.sandbox import Bind, Held
from provision.image.work import Given, Work

VERSION = 1
NEEDS = ("resolve", "tree")
READS = (
    "name",
    "base",
    "release",
    "arch",
    "roles",
    "gpus",
    "inference",
    "profile",
    "overlays",
    "waivers",
)
TOOLS = ("nsenter",)
SOURCES = tuple(configuring.files())

_ENVIRONMENT = {
    # No init runs here, and systemctl is told so: it changes links and files only.
    "SYSTEMD_OFFLINE": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
}


class Options(Model):
    """What the roles are told."""

    roles: tuple[str, ...]
    variables: str
    """The digest of the roles' options."""
    controls: str
    """The digest of the rendered controls."""


def options(definition: Definition, given: Given) -> Options:
    """What the roles will be told.

    Raises:
        HoldfastError: a name of the profile is unknown, or a waiver has expired.
    """
    found = configuring.variables(definition, sources.of(definition, given))
    return Options(
        roles=configuring.roles_of(definition),
        variables=configuring.digest(found),
        controls=configuring.digest(configuring.controls(definition)),
    )


def run(work: Work) -> None:
    """Copy the tree, and run the roles in the copy.

    Raises:
        HoldfastError: a role failed.
    """
    root = work.out / "root"
    work.sandbox.copy(work.inputs["tree"] / "root", root)
    changes = configure(work, root)
    text = json.dumps({"schema": "holdfast.image-changes/1", "changes": changes}, indent=1)
    (work.out / "changes.json").write_text(text + "\n", encoding="utf-8")
    # The way back of a pass means nothing in an image: there was no node before it.
    left = [root / "var/lib/holdfast/hardening", root / "root/.ansible"]
    work.sandbox.run(["rm", "-rf", *left])


def configure(work: Work, root: Path) -> list[dict[str, Any]]:
    """Run the roles in `root`; what they changed, task by task.

    Raises:
        HoldfastError: a role failed.
    """
    if not work.options.roles:
        return []
    with (
        tempfile.TemporaryDirectory(prefix="hf-") as private,
        work.sandbox.hold(root, env=_ENVIRONMENT, bind=_brought(work)) as held,
    ):
        # What a start lays out in /run, programs expect there too when they judge a file.
        if (root / "usr/bin/systemd-tmpfiles").exists():
            held.run(["systemd-tmpfiles", "--create", "--prefix=/run"], ok=(0, 65, 73))
        return _play(work, held, Path(private))


def _brought(work: Work) -> list[Bind]:
    """What the stack lock pins beside packages, where the roles look for it."""
    folder = work.inputs["resolve"] / "files"
    return [Bind(folder, configuring.FILES)] if folder.is_dir() else []


def _play(work: Work, held: Held, private: Path) -> list[dict[str, Any]]:
    definition = work.definition
    inventory, rendered = private / "inventory.yml", private / "controls.json"
    configuring.write_inventory(inventory, definition.name, held.pid, held.env)
    rendered.write_text(json.dumps(configuring.controls(definition)), encoding="utf-8")
    found = sources.of(definition, work.given)
    told = {
        **configuring.variables(definition, found),
        "image_lock": str(found.lock_file or ""),
        "image_arch": definition.arch,
        "image_roles": list(work.options.roles),
        "image_release": str(definition.release),
        "image_controls": {definition.name: {definition.el: str(rendered)}},
    }
    place = Place(private / "ansible", private / "s", inventory, private / "known_hosts", forks=1)
    seen = _Seen(work)
    ansible = Ansible(place)
    try:
        outcome = ansible.run("image", playbook("image"), seen.take, limit=[definition.name],
                              variables=told)  # fmt: skip
    finally:
        ansible.close()
    (work.out / "ansible.log").write_bytes(outcome.log.read_bytes())
    seen.judge(outcome)
    return seen.changes


class _Seen:
    """What ansible's callback says of the play."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.changes: list[dict[str, Any]] = []
        self.failed: list[Problem] = []

    def take(self, line: Line) -> None:
        """Take one line."""
        if line.get("kind") != "task.end":
            return
        task, status = str(line.get("task")), str(line.get("status"))
        self.work.events.emit(
            Event("stage.task", phase=self.work.stage, data={"task": task, "status": status})
        )
        if status == "changed":
            self.changes.append({"task": task, "changes": line.get("changes", [])})
        elif status in ("failed", "unreachable") and not line.get("ignored"):
            message = f"{task}: {line.get('message')}"
            self.failed.append(Problem("role-failed", message, where=self.work.definition.name))

    def judge(self, outcome: Outcome) -> None:
        """Raise when the play did not come to its end.

        Raises:
            KeyboardInterrupt: it was interrupted.
            HoldfastError: a task failed, or ansible itself did.
        """
        if outcome.interrupted:
            raise KeyboardInterrupt
        if self.failed:
            raise HoldfastError(self.failed)
        if outcome.status != 0 or not outcome.finished:
            raise HoldfastError(
                [Problem("ansible", f"ansible did not finish:\n{outcome.last_words()}",
                         where=self.work.definition.name)]
            )  # fmt: skip
