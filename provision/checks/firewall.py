"""Reads what the kernel's packet filter lets in, from `nft -j list ruleset`, whoever wrote it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Rule = dict[str, Any]


@dataclass(frozen=True, order=True)
class Opening:
    """A port that is let in. `sources` are networks; empty means from anywhere."""

    port: str
    protocol: str
    sources: tuple[str, ...] = ()

    def __str__(self) -> str:
        place = f" from {', '.join(self.sources)}" if self.sources else ""
        return f"{self.port}/{self.protocol}{place}"


def closed_by_default(ruleset: list[Rule]) -> bool:
    """Whether some base chain on the input hook drops or rejects whatever nothing let in."""
    return any(_closes(ruleset, chain) for chain in _input_chains(ruleset))


def openings(ruleset: list[Rule]) -> tuple[Opening, ...]:
    """Ports that rules reached from the input hook accept, with the sources they accept."""
    found: set[Opening] = set()
    for chain in _input_chains(ruleset):
        found |= _openings(ruleset, chain["table"], chain["name"], (), frozenset())
    return tuple(sorted(found))


def open_to_all(ruleset: list[Rule]) -> bool:
    """Whether some rule reached from the input hook accepts everything from anywhere."""
    return any(o.port == "any" and not o.sources for o in openings(ruleset))


def _input_chains(ruleset: list[Rule]) -> list[Rule]:
    chains = [x["chain"] for x in ruleset if "chain" in x]
    return [c for c in chains if c.get("hook") == "input" and c.get("type") == "filter"]


def _rules(ruleset: list[Rule], table: str, chain: str) -> list[list[Rule]]:
    rules = [x["rule"] for x in ruleset if "rule" in x]
    return [r["expr"] for r in rules if r["table"] == table and r["chain"] == chain]


def _closes(ruleset: list[Rule], chain: Rule) -> bool:
    if chain.get("policy") == "drop":
        return True
    rules = _rules(ruleset, chain["table"], chain["name"])
    # The last word of the chain, without any condition.
    return (
        bool(rules)
        and len(rules[-1]) <= 2
        and any("reject" in part or "drop" in part for part in rules[-1])
        and not any("match" in part for part in rules[-1])
    )


def _openings(
    ruleset: list[Rule], table: str, chain: str, sources: tuple[str, ...], path: frozenset[str]
) -> set[Opening]:
    found: set[Opening] = set()
    for rule in _rules(ruleset, table, chain):
        matches = [part["match"] for part in rule if "match" in part]
        if _local_or_known(matches):
            continue
        own = sources + tuple(s for m in matches for s in _source(m))
        for part in rule:
            target = _target(part)
            if target is not None and target not in path:
                found |= _openings(ruleset, table, target, own, path | {chain})
            if "accept" in part:
                found |= _accepted(matches, own)
    return found


def _target(part: Rule) -> str | None:
    for verb in ("jump", "goto"):
        if verb in part:
            return str(part[verb]["target"])
    return None


def _local_or_known(matches: list[Rule]) -> bool:
    """Rules for answers to what the node asked, for its loopback, and for ICMP."""
    for match in matches:
        left, right = match.get("left", {}), match.get("right")
        if left.get("ct", {}).get("key") == "state" and "new" not in _values(right):
            return True
        if left.get("ct", {}).get("key") == "status":
            return True
        if left.get("meta", {}).get("key") in ("iifname", "iif") and right == "lo":
            return True
        if left.get("payload", {}).get("protocol") in ("icmp", "icmpv6"):
            return True
        if left.get("meta", {}).get("key") == "l4proto" and set(_values(right)) <= {
            "icmp", "ipv6-icmp", "icmpv6",
        }:  # fmt: skip
            return True
    return False


def _accepted(matches: list[Rule], sources: tuple[str, ...]) -> set[Opening]:
    found: set[Opening] = set()
    for match in matches:
        payload = match.get("left", {}).get("payload", {})
        if payload.get("field") == "dport":
            protocol = str(payload.get("protocol", "th"))
            found |= {Opening(v, protocol, sources) for v in _values(match.get("right"))}
    if not found and not any(_narrows(m) for m in matches):
        return {Opening("any", "any", sources)}
    return found


def _narrows(match: Rule) -> bool:
    """Whether a match lets in less than everything from a source."""
    left = match.get("left", {})
    if left.get("payload", {}).get("field") == "saddr":
        return match.get("op") != "=="
    return "payload" in left or "fib" in left


def _source(match: Rule) -> list[str]:
    payload = match.get("left", {}).get("payload", {})
    if payload.get("field") != "saddr" or match.get("op") != "==":
        return []
    # A network of every address limits nothing.
    return [v for v in _values(match.get("right")) if not v.endswith("/0")]


def _values(right: Any) -> list[str]:
    if isinstance(right, dict):
        if "set" in right:
            return [v for one in right["set"] for v in _values(one)]
        if "range" in right:
            return ["-".join(str(x) for x in right["range"])]
        if "prefix" in right:
            return [f"{right['prefix']['addr']}/{right['prefix']['len']}"]
        return [str(right)]
    if isinstance(right, list):
        return [v for one in right for v in _values(one)]
    return [str(right)]
