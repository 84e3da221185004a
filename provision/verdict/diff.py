"""What changed between two verdicts of a rack."""

from __future__ import annotations

from dataclasses import dataclass

from provision.verdict.model import Finding, Status, Verdict
from provision.verdict.text import one_line
from provision.verdict.words import LOOKS


@dataclass(frozen=True)
class Change:
    """How one verdict differs from an earlier one.

    `broken` gates now and did not before, `fixed` gated before and was seen not to any more,
    `unseen` gated before and was not looked at again, which is no improvement, `still` gates in
    both; `arrived` and `gone` are nodes.
    """

    broken: tuple[Finding, ...]
    fixed: tuple[Finding, ...]
    unseen: tuple[Finding, ...]
    still: tuple[Finding, ...]
    arrived: tuple[str, ...]
    gone: tuple[str, ...]

    @property
    def better(self) -> bool:
        """Whether nothing got worse and something was fixed."""
        return bool(self.fixed) and not (self.broken or self.unseen or self.gone)


def compare(before: Verdict, after: Verdict) -> Change:
    """What changed from `before` to `after`; a finding is known by its node and check."""
    old, new = _gating(before), _gating(after)
    looked_at = {(f.node, f.check) for f in after.findings if f.status is not Status.NOT_APPLICABLE}
    old_nodes, new_nodes = before.by_node(), after.by_node()
    return Change(
        broken=tuple(f for key, f in new.items() if key not in old),
        fixed=tuple(f for key, f in old.items() if key not in new and key in looked_at),
        unseen=tuple(f for key, f in old.items() if key not in looked_at),
        still=tuple(f for key, f in new.items() if key in old),
        arrived=tuple(n for n in new_nodes if n not in old_nodes),
        gone=tuple(n for n in old_nodes if n not in new_nodes),
    )


def render(change: Change) -> str:
    """The change as lines of plain text, one each; says so when there is none."""
    lines = [f"new      {_line(f)}" for f in change.broken]
    lines += [f"unseen   {_line(f)}" for f in change.unseen]
    lines += [f"fixed    {_line(f)}" for f in change.fixed]
    lines += [f"still    {_line(f)}" for f in change.still]
    lines += [f"arrived  {one_line(name)}" for name in change.arrived]
    lines += [f"gone     {one_line(name)}" for name in change.gone]
    return "\n".join(lines or ["nothing changed"]) + "\n"


def _gating(verdict: Verdict) -> dict[tuple[str, str], Finding]:
    return {(f.node, f.check): f for f in verdict.findings if f.status.gates}


def _line(finding: Finding) -> str:
    return one_line(f"{finding.node}: {finding.title} ({LOOKS[finding.status].word})")
