"""The checks' own judgement: what a probe saw, and what the check makes of it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from provision.checks import firewall, packages
from provision.checks.declare import CouldNotLook
from provision.checks.probes import base, common, model_store
from provision.checks.probes.repositories import fingerprints

LOCK = Path(__file__).parents[1] / "data/example/stack.lock.json"


def rules(*expressions: list, policy: str = "accept", more: tuple = ()) -> list[dict]:
    """A ruleset with one input chain, as `nft -j list ruleset` prints it."""
    chain = {
        "family": "inet", "table": "t", "name": "in", "hook": "input", "type": "filter",
        "prio": 0, "policy": policy,
    }  # fmt: skip
    made = [{"chain": chain}]
    made += [{"rule": {"table": "t", "chain": "in", "expr": list(e)}} for e in expressions]
    return [*made, *more]


def port(number, protocol: str = "tcp") -> dict:
    left = {"payload": {"protocol": protocol, "field": "dport"}}
    return {"match": {"op": "==", "left": left, "right": number}}


def source(network) -> dict:
    left = {"payload": {"protocol": "ip", "field": "saddr"}}
    return {"match": {"op": "==", "left": left, "right": network}}


def state(*names: str) -> dict:
    left = {"ct": {"key": "state"}}
    return {"match": {"op": "in", "left": left, "right": list(names)}}


ACCEPT = {"accept": None}
REJECT = {"reject": {"type": "icmpx", "expr": "admin-prohibited"}}
LOOPBACK = {"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": "lo"}}


@pytest.mark.parametrize(
    ("ruleset", "closed"),
    [
        ([], False),
        (rules(), False),
        (rules(policy="drop"), True),
        (rules([REJECT]), True),
        (rules([{"log": {}}, REJECT]), True),
        (rules([port(22), ACCEPT]), False),
        (rules([port(22), REJECT]), False),
        (rules([REJECT], [port(22), ACCEPT]), False),
    ],
)
def test_closed_by_default(ruleset, closed):
    assert firewall.closed_by_default(ruleset) is closed


@pytest.mark.parametrize(
    ("expression", "openings"),
    [
        ([port(22), ACCEPT], ["22/tcp"]),
        ([port({"set": [80, 443]}), ACCEPT], ["443/tcp", "80/tcp"]),
        ([port({"range": [8000, 8010]}), ACCEPT], ["8000-8010/tcp"]),
        ([port(53, "udp"), ACCEPT], ["53/udp"]),
        (
            [source({"prefix": {"addr": "192.0.2.0", "len": 24}}), port(8443), ACCEPT],
            ["8443/tcp from 192.0.2.0/24"],
        ),
        ([source("192.0.2.7"), ACCEPT], ["any/any from 192.0.2.7"]),
        ([ACCEPT], ["any/any"]),
        ([source({"prefix": {"addr": "0.0.0.0", "len": 0}}), ACCEPT], ["any/any"]),
        ([{"match": {"op": "!=", "left": source("")["match"]["left"], "right": "a"}}, ACCEPT], []),
        ([state("established", "related"), ACCEPT], []),
        ([state("new", "untracked"), port(22), ACCEPT], ["22/tcp"]),
        ([LOOPBACK, ACCEPT], []),
        ([port(22), REJECT], []),
        ([{"match": {"left": {"meta": {"key": "l4proto"}}, "right": "icmp"}}, ACCEPT], []),
    ],
)
def test_openings(expression, openings):
    assert [str(o) for o in firewall.openings(rules(expression))] == openings


def test_openings_behind_jumps_keep_the_source_of_the_way_there():
    jump = [source("192.0.2.0"), {"goto": {"target": "zone"}}]
    inner = {"rule": {"table": "t", "chain": "zone", "expr": [port(8443), ACCEPT]}}
    loop = {"rule": {"table": "t", "chain": "zone", "expr": [{"jump": {"target": "in"}}]}}
    stray = {"rule": {"table": "t", "chain": "unused", "expr": [port(1), ACCEPT]}}
    found = firewall.openings(rules(jump, more=(inner, loop, stray)))
    assert [str(o) for o in found] == ["8443/tcp from 192.0.2.0"]


def test_a_rule_for_everything_is_seen():
    assert firewall.open_to_all(rules([ACCEPT]))
    assert not firewall.open_to_all(rules([port(22), ACCEPT]))


def test_fingerprints_are_those_of_the_lock():
    lock = json.loads(LOCK.read_text())
    keys = list(lock["keys"].values())
    assert keys
    for key in keys:
        assert fingerprints(key["armored"]) == [key["fingerprint"].lower()]
    both = "\n".join(k["armored"] for k in [*keys, *keys])
    assert len(fingerprints(both)) == 2 * len(keys)
    assert fingerprints("no key here") == []


@pytest.mark.parametrize(
    ("text", "who"),
    [
        ("RSA/SHA256, Tue 03 Nov 2026 10:00:00 UTC, Key ID 199e2f91fd431d51", "199e2f91fd431d51"),
        (
            "OpenPGP V4 EdDSA/SHA512 signature, Key Fingerprint: " + "AB" * 20,
            "ab" * 20,
        ),
        ("", None),
        ("  ", None),
    ],
)
def test_signer(text, who):
    assert packages.signer(text) == who


def test_a_signature_in_an_unknown_form_is_not_seen():
    with pytest.raises(CouldNotLook):
        packages.signer("signed by somebody nice")


def test_made_by_takes_no_short_id_and_no_other_key():
    print_ = "0123456789abcdef0123456789abcdef01234567"
    assert packages.made_by(print_[-16:], print_.upper())
    assert packages.made_by(print_, print_)
    assert not packages.made_by(print_[-8:], print_)
    assert not packages.made_by("f" * 16, print_)
    assert not packages.made_by(None, print_)


def test_a_part_that_breaks_spoils_no_other():
    def breaks():
        raise ZeroDivisionError("by zero")

    def unseen():
        raise common.Unseen("no way")

    def absent():
        raise common.Absent("not there")

    seen = common.gather({"a": lambda: 1, "b": breaks, "c": unseen, "d": absent, "e": lambda: None})
    assert seen == {
        "a": {"value": 1},
        "b": {"error": "ZeroDivisionError: by zero"},
        "c": {"error": "no way"},
        "d": {"absent": "not there"},
        "e": {"value": None},
    }


def test_a_probe_says_why_a_command_gave_nothing():
    with pytest.raises(common.Unseen, match="is not installed"):
        common.run(["/no/such/program"])
    with pytest.raises(common.Unseen, match="ended with 3: why"):
        common.run(["sh", "-c", "echo why >&2; exit 3"])
    with pytest.raises(common.Unseen, match="did not end within"):
        common.run(["sleep", "5"], timeout=0.1)
    with pytest.raises(common.Unseen, match="did not print JSON"):
        common.run_json(["echo", "{"])


def test_the_model_probe_sees_every_file_and_its_kind(tmp_path):
    root = tmp_path / "tiny"
    (root / "sub").mkdir(parents=True)
    (root / "a.gguf").write_bytes(b"weights")
    (root / "sub/b").write_bytes(b"")
    (root / "link").symlink_to("a.gguf")
    seen = model_store.look({"directory": str(root)})
    kinds = {e["path"]: e["kind"] for e in seen["tree"]["value"]}
    assert kinds == {
        ".": "folder", "a.gguf": "file", "sub": "folder", "sub/b": "file", "link": "link",
    }  # fmt: skip
    assert seen["digests"]["value"] == {
        "a.gguf": hashlib.sha256(b"weights").hexdigest(),
        "sub/b": hashlib.sha256(b"").hexdigest(),
    }
    gone = model_store.look({"directory": str(tmp_path / "none")})
    assert set(gone["digests"]) == {"absent"}


@pytest.mark.parametrize(
    ("podman", "counts"),
    [("healthy\n", False), ("starting\n", True), ("unhealthy\n", True), ("", True), (None, True)],
)
def test_one_health_check_that_came_late_is_no_failed_unit(monkeypatch, podman, counts):
    container = "61fc890597f6" + "0" * 52
    late = f"{container}-4a2614194bf93561.service"

    def run(argv: list[str]) -> str:
        if argv[0] == "systemctl":
            return f"{late} loaded failed failed podman\nsshd.service loaded failed failed SSH\n"
        assert argv[-1] == container
        if podman is None:
            raise common.Unseen("podman is not installed")
        return podman

    monkeypatch.setattr(base, "run", run)
    assert base._failed() == [*([late] if counts else []), "sshd.service"]
