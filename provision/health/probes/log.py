"""The kernel's log of this boot: XIDs, SXids and what the kernel says about failing hardware.

A line is read once: what was found is kept with its count, and the next audit goes on after the
last line that was read.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from provision.health.probes.ask import Ask, Ended, Failed

XID = re.compile(
    r"NVRM: Xid \((?:PCI:)?([0-9a-fA-F]{4,8}:[0-9a-fA-F:.]+)(?: GPU-I:\d+)?(?: GPU-CI:\d+)?\):"
    r" (\d+)(?:, ?(.*))?"
)
"""Old drivers leave ``PCI:`` out; on a GPU that is cut by MIG the instance follows the address."""
SXID = re.compile(
    r"nvidia-nvswitch(\d+): SXid \((?:PCI:)?([0-9a-fA-F:.]+)\): (\d+),? ?(Fatal|Non-fatal)?,? ?(.*)"
)
LOADED = re.compile(r"NVRM: loading NVIDIA UNIX")
RECOVERED = re.compile(r"recovery action changed from .* to 0x0 ")
PATTERNS = {
    "off_the_bus": re.compile(
        r"NVRM: (?:.*?GPU ([0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.\d).*|.*)fallen off the bus"
    ),
    "hung_task": re.compile(r"task (\S+) blocked for more than \d+ seconds"),
    "lockup": re.compile(r"watchdog: BUG: soft lockup|Watchdog detected hard LOCKUP"),
    "oops": re.compile(
        r"\bBUG: (?:unable|kernel NULL)|Oops: |general protection fault|kernel BUG at"
    ),
    "machine_check": re.compile(
        r"\[Hardware Error\]|mce: .*Machine [Cc]heck|CPU\d+: Machine Check"
    ),
    "out_of_memory": re.compile(r"Out of memory: Kill|oom-kill:|Killed process \d+"),
    "io_error": re.compile(
        r"I/O error, dev (\S+?),|Buffer I/O error on dev (\S+?),|critical medium error"
    ),
    "nvme": re.compile(
        r"(nvme\d+)(?:n\d+)?: (?:I/O .* timeout|controller is down|Device not ready"
        r"|Removing after probe failure|failed to)"
    ),
    "filesystem": re.compile(
        r"EXT4-fs error|XFS .*(?:Corruption|[Ss]hut ?[Dd]own|[Mm]etadata I/O)"
        r"|BTRFS.*(?:error|corrupt)|Remounting filesystem read-only"
    ),
    "raid": re.compile(r"md/?(?:raid)?.*(?:Disk failure|Operation continuing on)"),
    "lost_lines": re.compile(r"Missed \d+ kernel messages|printk messages dropped"),
}
"""Kernel lines other than XIDs, by kind. One line counts for the first kind that it fits."""
GREP = (
    r"NVRM|SXid|blocked for more than|LOCKUP|lockup|BUG|Oops|protection fault|Hardware Error"
    r"|[Mm]achine [Cc]heck|Out of memory|oom-kill|Killed process|I/O error|medium error|nvme"
    r"|EXT4-fs error|XFS|BTRFS|read-only|Disk failure|Operation continuing"
    r"|Missed \d+ kernel|messages dropped"
)
"""What journald itself leaves out before a line is read here; wider than every pattern."""
_SAMPLE = 200
_MOST = 500
MOST_LINES = 100_000
"""How many lines one audit reads; the next one goes on."""


def look(ask: Ask) -> None:
    """Say what the kernel said, with what earlier audits of this boot had read."""
    kept = ask.kept if ask.kept.get("boot") == ask.boot else {}
    events: dict[str, Any] = {k: dict(v) for k, v in kept.get("events", {}).items()}
    order, cursor = int(kept.get("order", 0)), str(kept.get("cursor", ""))

    def read() -> dict[str, Any]:
        number, last, behind = order, cursor, False
        for text, when, place in _lines(ask, cursor):
            if number - order == MOST_LINES:
                behind = True  # the next audit reads on from here
                break
            number += 1
            last = place or last
            note(events, text, when, number)
        return {"events": events, "boot": ask.boot, "order": number, "cursor": last,
                "behind": behind}  # fmt: skip

    ask.see("log.events", read)


def _lines(ask: Ask, cursor: str) -> Iterator[tuple[str, float, str]]:
    """New lines of the kernel: text, seconds since the epoch, cursor."""
    if ask.journal and not ask.journal.endswith(".journal"):
        told = list(_entries(ask.text(ask.journal, 64 << 20).splitlines()))
        if not told:
            raise Failed("missing", f"{ask.journal} holds no line of the kernel")
        places = [place for _, _, place in told]
        yield from told[places.index(cursor) + 1 if cursor in places else 0 :]
        return
    which = [f"--file={ask.journal}"] if ask.journal else ["-k", "-b"]
    base = ["journalctl", *which, "--no-pager", "-q", "-o", "json"]
    after = [f"--after-cursor={cursor}"] if cursor else []
    argv = [*base, "--output-fields=MESSAGE", *after, "-g", GREP, "--case-sensitive=yes"]
    try:
        with ask.stream(argv) as lines:
            first = _first(lines)
            if first is None:
                # Nothing matched, or it cannot look: only a line of any kind proves that it can.
                _prove(ask, base)
                return
            yield from _entries(itertools.chain([first], lines))
    except Failed as error:
        raise Failed(error.kind, f"the kernel's journal: {error.reason}") from error


def _first(lines: Iterator[str]) -> str | None:
    """The first line, or None. That nothing matches may be an error, but one without a word."""
    try:
        return next(lines, None)
    except Ended as error:
        if error.said:
            raise
        return None


def _prove(ask: Ask, base: list[str]) -> None:
    lines = ask.run([*base, "-n", "1"], 10.0)
    if not lines.strip():
        raise Failed("missing", "the journal holds no line of the kernel of this boot")


def _entries(lines: Iterable[str]) -> Iterator[tuple[str, float, str]]:
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError as error:
            raise Failed(
                "truncated", f"a line of the journal cannot be read: {line[:80]!r}"
            ) from error
        message = entry.get("MESSAGE") or ""
        if isinstance(message, list):  # bytes that are not text
            message = bytes(message).decode("utf-8", "replace")
        when = float(entry.get("__REALTIME_TIMESTAMP") or 0) / 1e6
        yield str(message), when, str(entry.get("__CURSOR") or "")


def note(events: dict[str, Any], text: str, when: float, order: int) -> None:
    """Take one line of the kernel into the events."""
    if LOADED.search(text):
        events["loaded"] = {"order": order, "last": when}
        return
    for kind, code, who, rest in _read(text):
        key = f"{kind}|{code}|{who}"
        if kind == "xid" and code == "154" and RECOVERED.search(rest):
            events[f"recovered||{who}"] = {"order": order, "last": when}
        event = events.setdefault(key, {"count": 0, "first": when, "sample": rest[:_SAMPLE]})
        if len(events) > _MOST:
            del events[key]
            events.setdefault("overflow", {"count": 0})["count"] += 1
            return
        event["count"] += 1
        event["last"], event["order"] = when, order
        if kind in ("xid", "sxid") and _graver(rest):
            event["fatal"] = True


def _graver(rest: str) -> bool:
    return bool(re.search(r"\bFatal\b", rest))


def _read(text: str) -> Iterator[tuple[str, str, str, str]]:
    """Kind, code, whom it is about, and the rest of a line that says something."""
    match = XID.search(text)
    if match:
        yield "xid", match[2], _bus(match[1]), match[3] or ""
        return
    match = SXID.search(text)
    if match:
        yield "sxid", match[3], f"nvswitch{match[1]}", f"{match[4] or ''} {match[5]}".strip()
        return
    if "NVRM: Xid" in text or "SXid (" in text:
        yield "unreadable", "sxid" if "SXid (" in text else "xid", "", text
        return
    for kind, pattern in PATTERNS.items():
        match = pattern.search(text)
        if match:
            who = next((g for g in match.groups() if g), "")
            yield kind, "", who, text
            return


def _bus(text: str) -> str:
    """A bus id of a log line as sysfs writes it; the log leaves the function out."""
    domain, rest = text.lower().split(":", 1)
    return f"{domain[-4:]}:{rest}" + ("" if "." in rest else ".0")
