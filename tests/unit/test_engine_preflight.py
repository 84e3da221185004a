"""Preflight: each way in which a node can be wrong gives one clear failure, never a pass."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from provision.core.events import Event
from provision.engine import gpu
from provision.engine.evaluate import evaluate, refused, root_causes
from provision.engine.judges import CHECKS, Asked, Sight
from provision.engine.preflight import gather
from provision.engine.unreachable import classify, shorten
from provision.rack.model import Gpus, Hardware, Nic
from provision.supply.model import StackLock
from provision.verdict.model import Status
from tests.unit.engine_support import FACTS, node, serving
from tests.unit.gpu_support import gpu_lock


def stack(provider="site_signed", **cuda):
    """What a lock with a GPU unit has; `cuda` is what the image asks for."""
    data = gpu_lock(provider)
    data["images"][0].update(name="llama-cpp", arch="x86_64")
    if cuda:
        data["images"][0]["cuda"] = cuda
    return StackLock.model_validate_json(json.dumps(data))


ASKED = Asked(
    frozenset({("10", "x86_64"), ("9", "x86_64")}),
    "run-1",
    None,
    {"tiny": 1},
    gpu.locked(stack(version="12.8")),
)
HARDWARE = Hardware(
    gpus=Gpus(model="NVIDIA H100 80GB HBM3", pci_id="10de:2330", count=8),
    memory_gib=16,
    disk_gib=200,
    cores=8,
    nics=(Nic(name="eno1", speed_gbps=100),),
)


def judged(facts=None, *, asked=ASKED, asked_at=999.0, seen_at=1001.0, **given):
    sight = Sight({**FACTS, **(facts or {})}, None, asked_at, seen_at)
    declared = {"hardware": HARDWARE, "inference": serving(), **given}
    return {f.check.removeprefix("preflight."): f for f in evaluate(node(**declared), sight, asked)}


def without(*names):
    return Sight({k: v for k, v in FACTS.items() if k not in names}, None, 999.0, 1001.0)


def test_a_node_as_declared_passes_everywhere():
    assert {f.status for f in judged().values()} == {Status.PASS}
    assert list(judged()) == [check.id for check in CHECKS]


@pytest.mark.parametrize(
    ("check", "facts", "word"),
    [
        ("privilege", {"become_ok": False}, "not root"),
        ("python", {"python": "3.6.8"}, "3.6.8"),
        ("release", {"version_id": "8.10", "pretty_name": "Rocky Linux 8.10"}, "Python 3.6"),
        ("release", {"version_id": "12", "distribution_id": "debian", "id_like": ""}, "EL family"),
        ("release", {"version_id": "11.0"}, "Rocky"),
        ("architecture", {"arch": "ppc64le"}, "ppc64le"),
        ("architecture", {"arch": "aarch64"}, "the lock has"),
        ("disk", {"disk_free_mib": {"/": 10, "/srv": 300000}}, "/ 10 MiB"),
        ("disk", {"disk_free_mib": {"/": 5000, "/srv": 5000}}, "/srv 5000 MiB"),
        ("memory", {"memory_mib": 8000}, "7.8 GiB"),
        ("cores", {"cores": 4}, "4"),
        ("clock", {"clock": 4600.0}, "3599.0 s off"),
        ("clock", {"clock": 10.0}, "989.0 s off"),
        ("gpus", {"pci_gpus": FACTS["pci_gpus"][:7]}, "7 x 10de:2330"),
        ("gpus", {"pci_gpus": []}, "no GPU on the PCI bus"),
        ("nics", {"nics": []}, "eno1 is missing"),
        ("nics", {"nics": [{"name": "eno1", "speed_mbps": 100000, "up": False}]}, "is down"),
        ("nics", {"nics": [{"name": "eno1", "speed_mbps": 1000, "up": True}]}, "1000 Mbit/s"),
        ("ports", {"listening_ports": [{"port": 8443, "process": "nginx"}]}, "nginx"),
        ("ports", {"listening_ports": [{"port": 8443, "process": None}]}, "unnamed"),
        ("lock", {"locks": {"run": "run-0", "controller": "a@b", "pid": 7}}, "run run-0 of a@b"),
        ("lock", {"locks": {"garbage": True}}, "unreadable"),
    ],
)
def test_each_fault_is_a_failure_with_a_next_step(check, facts, word):
    findings = judged(facts)
    wrong = [name for name, f in findings.items() if f.status.gates]
    assert wrong == [check]
    assert findings[check].status is Status.FAIL
    assert word in findings[check].seen
    assert findings[check].action
    assert refused(findings.values()) == ["n1"]


@pytest.mark.parametrize(
    ("check", "fact"),
    [
        ("privilege", "become_ok"),
        ("python", "python"),
        ("release", "id_like"),
        ("architecture", "arch"),
        ("disk", "disk_free_mib"),
        ("memory", "memory_mib"),
        ("cores", "cores"),
        ("clock", "clock"),
        ("gpus", "pci_gpus"),
        ("nics", "nics"),
        ("secure_boot", "secure_boot"),
        ("ports", "listening_ports"),
        ("lock", "locks"),
    ],
)
def test_a_missing_fact_is_unknown_and_gates(check, fact):
    findings = evaluate(node(hardware=HARDWARE, inference=serving()), without(fact), ASKED)
    found = next(f for f in findings if f.check == f"preflight.{check}")
    assert found.status is Status.UNKNOWN
    assert refused(findings) == ["n1"]


def test_facts_of_the_wrong_kind_are_unknown():
    findings = judged({"disk_free_mib": {}, "pci_gpus": [{}], "memory_mib": None})
    for check in ("disk", "gpus", "memory"):
        assert findings[check].status is Status.UNKNOWN


def test_secure_boot_must_be_known_but_may_be_anything():
    assert judged({"secure_boot": "enabled"})["secure_boot"].status is Status.PASS
    assert judged({"secure_boot": "unknown"})["secure_boot"].status is Status.UNKNOWN
    found = judged({"secure_boot": "unknown"}, kind="container")["secure_boot"]
    assert found.status is Status.NOT_APPLICABLE


def test_what_is_not_declared_does_not_apply():
    findings = judged({"pci_gpus": [], "nics": []}, hardware=None, inference=None)
    na = {name for name, f in findings.items() if f.status is Status.NOT_APPLICABLE}
    gpus = {"gpus", "gpu_supply", "gpu_cuda", "gpu_packages"}
    assert na == {"memory", "cores", *gpus, "nics", "ports"}


def test_our_own_service_and_our_own_lock_are_no_obstacle():
    facts = {"listening_ports": [{"port": 8443, "process": "llama-server"}]}
    assert judged(facts)["ports"].status is Status.PASS
    held = {"locks": {"run": "run-1"}}
    assert judged(held)["lock"].status is Status.PASS
    taken = Asked(ASKED.platforms, "run-2", "run-1")
    assert judged(held, asked=taken)["lock"].status is Status.PASS


def test_a_nic_that_does_not_say_its_speed_is_unknown():
    facts = {"nics": [{"name": "eno1", "speed_mbps": None, "up": True}]}
    assert judged(facts)["nics"].status is Status.UNKNOWN


@pytest.mark.parametrize(
    ("message", "check"),
    [
        ("Failed to connect to the host via ssh: @@@\nREMOTE HOST IDENTIFICATION HAS CHANGED!",
         "host_key"),
        ("No ED25519 host key is known for 192.0.2.11 and you have requested strict checking.",
         "host_key"),
        ("admin@192.0.2.11: Permission denied (publickey,password).", "authentication"),
        ("ssh: connect to host 192.0.2.11 port 22: Connection timed out", "reachable"),
        ("ssh: connect to host 192.0.2.11 port 22: Connection refused", "reachable"),
        ("ssh: connect to host 192.0.2.11 port 22: No route to host", "reachable"),
        ("ssh: Could not resolve hostname n1: Name or service not known", "reachable"),
        ("kex_exchange_identification: Connection closed by remote host", "reachable"),
        ("Missing sudo password", "privilege"),
        ("sudo: a password is required", "privilege"),
        ("admin is not in the sudoers file.", "privilege"),
        ("SyntaxError: future feature annotations is not defined", "python"),
        ("The module interpreter '/usr/bin/python3' was not found.", "python"),
        ("OSError: [Errno 28] No space left on device", "disk"),
        ("something that nobody foresaw", "reachable"),
        ("", "reachable"),
    ],
)  # fmt: skip
def test_connection_messages_have_one_cause(message, check):
    cause = classify(message)
    assert cause.check == check
    assert cause.action
    findings = evaluate(node(hardware=HARDWARE), Sight(error=message), ASKED)
    failed = [f.check for f in findings if f.status is Status.FAIL]
    assert failed == [f"preflight.{check}"]
    assert Status.NOT_APPLICABLE not in {f.status for f in findings}
    assert len(root_causes(findings)) == 1


def test_a_wrong_key_means_that_the_node_answered():
    findings = evaluate(node(), Sight(error="Host key verification failed."), ASKED)
    by_check = {f.check: f.status for f in findings}
    assert by_check["preflight.reachable"] is Status.PASS
    assert by_check["preflight.authentication"] is Status.UNKNOWN


def test_el8_is_named_when_only_its_release_could_be_read():
    sight = Sight(error="SyntaxError: future feature annotations", release="Rocky Linux 8.10")
    findings = evaluate(node(), sight, ASKED)
    release = next(f for f in findings if f.check == "preflight.release")
    assert release.status is Status.FAIL
    assert "8.10" in release.seen


def test_a_silent_node_is_a_failure_too():
    findings = evaluate(node(), Sight(), ASKED)
    assert refused(findings) == ["n1"]


def test_shorten_keeps_what_says_something():
    text = "Failed to connect to the host via ssh: @@@@\n\nWarning: Permanently added x\nwrong\n"
    assert shorten(text).endswith("wrong")
    assert "@@@" not in shorten("@@@@@\nwrong")
    assert len(shorten("x" * 1000)) == 300


def test_gather_keeps_the_moments_around_the_look():
    events = [
        Event("task.start", "n1", "preflight", {}, 10.0),
        Event("facts", "n1", "preflight", {"facts": {"a": 1}}, 12.0),
        Event("task.end", "n2", "preflight", {"status": "unreachable", "message": "gone"}, 13.0),
        Event("task.end", "other", "preflight", {"status": "ok"}, 13.0),
    ]
    sights = gather(events, ["n1", "n2", "n3"])
    assert sights["n1"] == Sight({"a": 1}, None, 10.0, 12.0)
    assert sights["n2"].error == "gone"
    assert sights["n3"] == Sight()


class TestGpus:
    def asked(self, provider="site_signed", override=None, **cuda):
        return replace(ASKED, gpu=gpu.locked(stack(provider, **cuda), override))

    def test_what_only_the_console_could_let_load_is_refused_where_secure_boot_is_on(self):
        asked = self.asked("cuda_open_dkms")
        assert judged(asked=asked)["gpu_supply"].status is Status.PASS
        found = judged({"secure_boot": "enabled"}, asked=asked)["gpu_supply"]
        assert found.status is Status.FAIL
        assert "at its console" in found.seen
        assert "site_signed would fit" in found.action

    def test_secure_boot_that_cannot_be_read_is_unknown(self):
        found = judged({"secure_boot": "unknown"})["gpu_supply"]
        assert found.status is Status.UNKNOWN

    def test_a_container_has_no_firmware(self):
        found = judged({"secure_boot": "unknown"}, kind="container")["gpu_supply"]
        assert found.status is Status.PASS

    def test_another_distributions_modules_are_refused(self):
        found = judged(asked=self.asked("rhel_signed"))["gpu_supply"]
        assert found.status is Status.FAIL
        assert "rhel only" in found.seen

    def test_a_lock_without_a_unit_is_refused(self):
        for check in ("gpu_supply", "gpu_cuda"):
            found = judged({"version_id": "9.7"})[check]
            assert found.status is Status.FAIL
            assert "no GPU unit for EL 9 x86_64" in found.seen

    def test_the_kind_of_origin_is_that_of_the_module_unless_one_replaces_all(self):
        data = gpu_lock("rhel_signed")
        place = next(r for r in data["repositories"] if r["release"] == "10")["origin"]
        data["origins"][place]["kind"] = "subscription"
        lock = StackLock.model_validate_json(json.dumps(data))
        assert gpu.locked(lock).units["10", "x86_64"].origin == "subscription"
        assert gpu.locked(lock, "http://mirror").units["10", "x86_64"].origin == "mirror"
        assert gpu.locked(lock, "file:///srv").units["10", "x86_64"].origin == "file"

    def test_an_image_that_needs_a_newer_driver_is_refused_before_anything_is_deployed(self):
        asked = self.asked(version="14.0")
        assert judged(asked=asked)["gpu_cuda"].status is Status.FAIL
        assert judged(asked=asked, hardware=None)["gpu_cuda"].status is Status.NOT_APPLICABLE
        assert judged(asked=self.asked())["gpu_cuda"].status is Status.NOT_APPLICABLE

    def test_a_node_without_gpus_is_asked_nothing(self):
        found = judged(hardware=None)
        assert found["gpu_supply"].status is Status.NOT_APPLICABLE
