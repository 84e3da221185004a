"""Whether auditing runs with rules and loses nothing."""

from __future__ import annotations

from provision.health.case import Case
from provision.health.words import Check, Limit, NotMeant, Outcome, counted, decide


def judge(case: Case) -> Outcome:
    """Look at auditing's state, its rules, and what it lost."""
    if case.expected.kind == "container":
        raise NotMeant("a container has its host's audit trail")
    if not case.expected.said("security", "audit"):
        raise NotMeant("the declaration says that there is no audit trail")
    told = case.part("security.audit")
    locked = bool(case.expected.section("security").get("audit_immutable"))
    bad = []
    if told["enabled"] not in (1, 2):
        bad.append("switched off")
    if locked and told["enabled"] != 2:
        bad.append("the rules can be changed")
    if not told["pid"]:
        bad.append("no daemon writes it down")
    if not told["rules"]:
        bad.append("no rule is loaded")
    rate = case.rate("audit.lost", told["lost"])
    if not rate.whole and rate.growth > case.limit("security.audit.lost"):
        bad.append(f"{rate.growth:g} records lost since the last audit")
    seen = "; ".join(bad) or f"{counted(told['rules'], 'rule')}, enabled {told['enabled']}"
    return decide(not bad, seen, "auditing on, with rules and a daemon, and nothing lost")


CHECK = Check(
    id="security.audit",
    title="the audit trail is written, with rules, and complete",
    what="Asks the kernel whether auditing is on, which daemon writes, how many rules are loaded"
    " and how many records were lost since the audit before.",
    why="A trail that stopped is noticed on the day on which it is needed.",
    signal="auditctl -s, auditctl -l",
    severity="high",
    action="inspect",
    advice="start auditd and load its rules; with lost records raise the backlog",
    clears="auditing is on with rules and a daemon, and no record was lost between two audits",
    judge=judge,
    needs=("security.audit",),
    limits=(Limit("security.audit.lost", "records", 0, 0, 1000000, "none may be lost"),),
)
