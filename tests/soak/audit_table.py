"""The table of the fault campaign: one line for each fault that was found as it has to be."""

from __future__ import annotations

from pathlib import Path

from tests.soak.audit_faults import INJECTED, Injected

HEAD = ("fault", "surface", "done", "fails, and what to do", "without evidence, so unknown",
        "the simulation's author asked for")  # fmt: skip


def row(injected: Injected, found: dict[str, str]) -> str:
    """A fault's line: the checks that fail with their actions, and those that could not judge."""
    fails = [f"{c}: {s.split()[1]}" for c, s in found.items() if s.startswith("fail")]
    unseen = [c for c, s in found.items() if s.startswith("unknown")]
    quiet = "shown, does not gate" if injected.shown else "no finding"
    cells = (
        injected.id,
        injected.surface,
        injected.done,
        ", ".join(fails) or ("" if unseen else quiet),
        " ".join(unseen),
        injected.asked,
    )
    return "\t".join(cell.replace("\t", " ") for cell in cells)


def note(target: Path, injected: Injected, found: dict[str, str]) -> None:
    """Put a fault's line into the table, in place of an older one; lines keep the list's order."""
    kept = target.read_text(encoding="utf-8").splitlines()[1:] if target.exists() else []
    lines = {line.split("\t")[0]: line for line in kept}
    lines[injected.id] = row(injected, found)
    ordered = [lines[i.id] for i in INJECTED if i.id in lines]
    target.write_text("\n".join(["\t".join(HEAD), *ordered]) + "\n", encoding="utf-8")
