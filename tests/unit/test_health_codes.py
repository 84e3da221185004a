"""XID and SXid codes: beside NVIDIA's catalogue, and out of the lines that drivers write."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from provision.health.codes import table
from provision.health.docs import catalogue, pages
from provision.health.kernel_log import Event, _as_said
from provision.health.probes.log import note

DATA = Path(__file__).resolve().parents[1] / "data"
BUSES = ("0000:1b:00", "0000:CB:00", "0009:01:00", "0019:01:00")


def shapes() -> list[tuple[str, str]]:
    """Kind and shape of each published line."""
    lines = (DATA / "kernel_lines.tsv").read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in lines if line and not line.startswith("#")]
    assert all(len(row) == 3 and all(row) for row in rows)
    return [(row[0], row[1]) for row in rows]


def lines() -> list[tuple[str, str]]:
    """Every shape with many codes, known and unknown ones, and the key that it is counted under."""
    known = {name: sorted(table(name)) for name in ("xid", "sxid")}
    made = []
    for at, (kind, shape) in enumerate(shapes()):
        codes = [c for i, c in enumerate(known[kind]) if i % 6 == at % 6] + [900 + at, 99990 + at]
        for code, bus in zip(codes, itertools.cycle(BUSES)):
            text = shape.replace("BUS", bus).replace("CODE", str(code))
            who = text.split(":")[0].removeprefix("nvidia-") if kind == "sxid" else ""
            made.append((text, f"{kind}|{code}|{who or bus.lower() + '.0'}"))
    return made


def test_five_hundred_published_lines_are_read_and_none_is_lost():
    made = lines()
    assert len(made) >= 500
    # As on nodes that write few kinds each: the number of kinds that one boot keeps is bounded.
    for start in range(0, len(made), 250):
        events: dict[str, Any] = {}
        for order, (text, _) in enumerate(made[start : start + 250], 1):
            note(events, text, 0.0, order)
        counted = {k: v["count"] for k, v in events.items() if not k.startswith("recovered|")}
        wanted: dict[str, int] = {}
        for _, key in made[start : start + 250]:
            wanted[key] = wanted.get(key, 0) + 1
        assert counted == wanted


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("NVRM: Xid (PCI:0000:01:00 GPU-I:05): 94, pid=7194, x", "xid|94|0000:01:00.0"),
        ("NVRM: Xid (PCI:0000:01:00 GPU-I:05 GPU-CI:00): 13, x", "xid|13|0000:01:00.0"),
        ("NVRM: Xid (PCI:0000:01:00): 79", "xid|79|0000:01:00.0"),
        ("NVRM: Xid (PCI:0000:01:00 what): 79, x", "unreadable|xid|"),
        ("NVRM: Xid (0000:01:00): 79, x", "xid|79|0000:01:00.0"),
    ],
)
def test_the_address_of_a_line(line, key):
    events: dict[str, Any] = {}
    note(events, line, 0.0, 1)
    assert set(events) == {key}


@pytest.mark.parametrize(("word", "fatal"), [("Fatal", True), ("Nonfatal", False)])
def test_the_drivers_own_word(word, fatal):
    events: dict[str, Any] = {}
    note(events, f"NVRM: Xid (PCI:0000:01:00): 145, RLW_RXPIPE {word} XC0 i0 Link 13", 0.0, 1)
    assert events["xid|145|0000:01:00.0"].get("fatal", False) is fatal


def test_what_a_switch_calls_fatal_is_no_notice():
    notice = table("sxid")[12028]
    assert notice.kind == "notice"
    event = Event(12028, "nvswitch0", 1, 1, "Fatal, x", fatal=True)
    said = _as_said("sxid", event, notice)
    assert said is not None
    assert (said.kind, said.action) == ("decides", "reset_gpu")
    assert _as_said("sxid", Event(12028, "a", 1, 1, "", fatal=False), notice) == notice


def differences(published: dict[int, Any]) -> dict[int, str]:
    """Codes to which the catalogue gives another meaning than ours, with the reason."""
    return {
        number: told.why
        for number, told in published.items()
        if told.meant != (table("xid")[number].kind, table("xid")[number].action)
    }


def test_every_code_of_the_catalogue_is_ours_and_the_reverse():
    assert sorted(catalogue()) == sorted(table("xid"))


def test_every_difference_has_its_reason_and_no_other_code_has_one():
    found = differences(catalogue())
    assert [n for n, why in found.items() if not why] == []
    assert [n for n, told in catalogue().items() if told.why and n not in found] == []
    assert 20 < len(found) < 60


def test_the_page_shows_them():
    page = pages()["docs/reference/audit/xid-codes.md"]
    _, _, compared = page.partition("## Beside NVIDIA's catalogue")
    for number in table("xid"):
        assert f"\n| {number} | " in compared
