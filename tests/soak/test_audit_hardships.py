"""The audit where more than a reading goes wrong: the kernel holds a child, rights are missing,
the journal is damaged, the disk is full, the audit itself is killed.

As on a node: the packed program, its children, its state folder.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from provision.health.words import FAIL, UNKNOWN
from provision.rehearsal.gpu import journal
from tests.soak.auditing import Ground, Seen, packed, seen, traces, without_finding
from tests.unit.health_support import BOOT, XID, Recorded

pytestmark = [pytest.mark.soak, pytest.mark.needs("root", "fuse")]
ROOT = Path(__file__).resolve().parents[2]
LOGS = ("log.xid", "log.sxid", "log.kernel", "log.storage", "log.memory")
NETWORK = ("net.infiniband.state", "net.infiniband.flaps", "net.ethernet")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packed(tmp_path_factory.mktemp("program"))


@pytest.fixture
def ground(tmp_path: Path, program: Path) -> Ground:
    return Ground(tmp_path, program)


@contextmanager
def stuck(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A filesystem on `folder` from which nobody comes back, until its server ends."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, ROOT / "tests/unit/stuck_fuse.py", folder]
    server = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert server.stdout is not None
    assert server.stdout.readline() == b"ready\n"
    try:
        yield server
    finally:
        server.kill()
        server.communicate()
        subprocess.run(["umount", "-l", folder], check=True)


def gone(pid: int) -> bool:
    """Whether a process ends within some seconds."""
    until = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists():
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[-1].split()[0]
        if state == "Z" or time.monotonic() > until:
            return state == "Z"
        time.sleep(0.05)
    return True


def sound(told: Seen) -> None:
    assert (told.errors, traces(told)) == ("", [])


def test_a_probe_that_cannot_be_killed(ground: Ground) -> None:
    """Through the program: left behind, not waited for, no second one beside it, gone at last."""
    node = ground.node()
    node.lay()
    ground.laid = {k: v for k, v in node.laid.items() if "class/infiniband" not in k}
    node.files |= {k: None for k in node.laid if "class/infiniband" in k}
    node.lay()
    place = node.root / "sys/class/infiniband"
    with stuck(place) as server:
        began = time.monotonic()
        first = ground.run(node, ["--patience", "1"])
        assert time.monotonic() - began < 60
        sound(first)
        assert set(first.found) == set(NETWORK)
        assert {first.finding(c)["status"] for c in NETWORK} == {UNKNOWN}
        assert "cannot be killed and was left behind" in first.finding(NETWORK[0])["seen"]
        (behind,) = first.document["left_behind"]
        assert Path(f"/proc/{behind['pid']}/stat").read_text().rsplit(")", 1)[1].split()[0] == "D"
        second = ground.run(node)
        sound(second)
        assert f"process {behind['pid']} of an earlier audit" in second.finding(NETWORK[0])["seen"]
        assert [b["pid"] for b in second.document["left_behind"]] == [behind["pid"]]
        server.kill()
        assert gone(behind["pid"])
    node.files = {k: v for k, v in node.files.items() if "class/infiniband" not in k}
    assert without_finding(ground.run(node))


def test_a_driver_that_cannot_be_killed(ground: Ground, tmp_path: Path) -> None:
    """NVML's own start hangs in the kernel: everything of the GPUs is unknown, a restart is due."""
    node = ground.node()
    node.lay()
    with stuck(tmp_path / "state"):
        told = ground.run(
            node, ["--patience", "0.5"],
            environment={"HOLDFAST_GPUS_STATE": str(tmp_path / "state/gpus.json")},
        )  # fmt: skip
        sound(told)
        finding = told.finding("gpu.presence.driver")
        assert (finding["status"], finding["action"]) == (FAIL, "reboot")
        assert "cannot be killed" in finding["seen"]
        assert told.finding("gpu.power")["status"] == UNKNOWN


def test_a_mount_that_hangs(ground: Ground) -> None:
    """Only what needs its answer is unknown."""
    node = ground.node()
    node.files["@space/srv/models/space"] = None
    node.lay()
    with stuck(node.root / "@space/srv/models"):
        told = ground.run(node, ["--patience", "1"])
        sound(told)
        assert set(told.found) == {"host.space"}
        assert told.parts("host.space")["/srv/models"] == UNKNOWN
        assert "/srv/models did not end" in told.finding("host.space")["seen"]


POWERLESS = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search")


@pytest.mark.parametrize(
    ("name", "checks"),
    [
        ("proc/modules", ("gpu.driver.modules", "security.modules")),
        ("proc/meminfo", ("host.memory",)),
        ("proc/driver/nvidia/version", ("gpu.driver.agreement", "gpu.driver.version",
                                        "container.cdi", "container.gpu")),
        ("var/run/cdi/nvidia.yaml", ("container.cdi",)),
        ("sys/fs/selinux/enforce", ("security.selinux",)),
        ("log.jsonl", LOGS),
    ],
)  # fmt: skip
def test_a_file_that_may_not_be_read(ground: Ground, name: str, checks: tuple[str, ...]) -> None:
    node = ground.node()
    node.lay()
    (node.root / name).chmod(0)
    told = ground.run(node, before=POWERLESS)
    sound(told)
    assert set(told.found) == set(checks)
    assert {told.finding(c)["status"] for c in checks} == {UNKNOWN}
    assert "ermission denied" in told.finding(checks[0])["seen"]


def written(node: Recorded, told: list[str]) -> Path:
    """A journal file with these lines of the kernel."""
    lines = [
        journal.Line(1763894400000000 + n * 10**6, n * 10**6, uuid.UUID(BOOT),
                     {"MESSAGE": line, "_TRANSPORT": "kernel"})
        for n, line in enumerate(told)
    ]  # fmt: skip
    path = node.root / "kernel.journal"
    path.write_bytes(journal.render(uuid.UUID(int=7), lines))
    return path


def with_journalctl(ground: Ground) -> Recorded:
    """A node whose journalctl is the real one."""
    node = ground.node()
    node.commands["journalctl"] = '!exec /usr/bin/journalctl "$@"'
    return node


def test_a_real_journal(ground: Ground) -> None:
    node = with_journalctl(ground)
    path = written(node, ["Linux version 5.14.0", XID + "31, pid=1, name=a, x"])
    assert without_finding(ground.run(node, ["--journal", str(path)]))
    path = written(node, ["Linux version 5.14.0", XID + "31, pid=1, name=a, x", XID + "79, x"])
    told = ground.run(node, ["--journal", str(path)])
    sound(told)
    assert told.found == {"log.xid": "fail reboot"}


@pytest.mark.parametrize("left", [0, 100, 300])
def test_a_journal_that_was_cut(ground: Ground, left: int) -> None:
    node = with_journalctl(ground)
    path = written(node, ["Linux version 5.14.0", XID + "79, x"])
    path.write_bytes(path.read_bytes()[:left])
    told = ground.run(node, ["--journal", str(path)])
    sound(told)
    assert set(told.found) == set(LOGS)
    assert {told.finding(c)["status"] for c in LOGS} == {UNKNOWN}


def test_a_journal_with_nothing_in_it(ground: Ground) -> None:
    node = with_journalctl(ground)
    path = written(node, [])
    told = ground.run(node, ["--journal", str(path)])
    sound(told)
    assert set(told.found) == set(LOGS)


def test_a_journalctl_that_hangs(ground: Ground) -> None:
    node = ground.node()
    node.commands["journalctl"] = "!sleep 600"
    told = ground.run(node, ["--journal", "/kernel.journal", "--patience", "1"])
    sound(told)
    assert set(told.found) == set(LOGS)
    assert "did not end" in told.finding("log.xid")["seen"]


def test_a_full_disk(ground: Ground, tmp_path: Path) -> None:
    """What cannot be kept is said, and what lay there stays whole."""
    node = ground.node()
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", place], check=True)
    try:
        (place / "result.json").write_text("{}")
        (place / "filler").write_bytes(b"x" * 8192)
        told = ground.run(node, ["--state", str(place), "--out", str(place / "result.json")])
        assert told.code == 3
        assert told.errors.count("\n") == 1
        assert "No space left" in told.errors
        assert (place / "result.json").read_text() == "{}"
        assert [p.name for p in place.iterdir() if p.name.startswith(".")] == []
    finally:
        subprocess.run(["umount", place], check=True)


def test_a_killed_audit_leaves_nothing(ground: Ground) -> None:
    """Twenty audits killed at random moments: no child survives, the next one works."""
    chance = random.Random(11)
    node = ground.node()
    node.lay()
    argv = ground.argv(node)
    environment = {"PATH": os.environ["PATH"], "HOLDFAST_GPUS_STATE": str(node.state_file)}
    for _ in range(20):
        process = subprocess.Popen(argv, env=environment, cwd="/", stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)  # fmt: skip
        time.sleep(chance.uniform(0.05, 1.5))
        listed = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        try:
            children = [int(p) for p in listed.read_text().split()]
        except (FileNotFoundError, ProcessLookupError):
            children = []
        process.send_signal(signal.SIGKILL)
        process.wait()
        # A killed parent cannot end its children; they end at their own deadlines or sooner.
        assert [pid for pid in children if not gone(pid)] == []
        kept = node.root / "@state/state.json"
        assert not kept.exists() or json.loads(kept.read_text())["schema"]
    assert without_finding(ground.run(node))


def test_two_at_once(ground: Ground) -> None:
    """One of them works, the other says who holds the folder."""
    node = ground.node()
    go_on = node.root / "@go-on"
    node.commands["chronyc"] = f"!until [ -e {go_on} ]; do sleep 0.1; done; exit 1"
    node.lay()
    argv = ground.argv(node, ["--patience", "30"])
    environment = {"PATH": os.environ["PATH"], "HOLDFAST_GPUS_STATE": str(node.state_file)}
    first = subprocess.Popen(argv, env=environment, cwd="/", stdout=subprocess.DEVNULL)
    lock = node.root / "@state/lock"
    while not (lock.exists() and lock.read_text().strip()):
        time.sleep(0.02)
    second = seen(subprocess.run(argv, env=environment, cwd="/", capture_output=True, text=True,
                                 check=False))  # fmt: skip
    assert second.code == 3
    assert f"another audit is running: process {first.pid}" in second.errors
    assert first.poll() is None
    go_on.touch()
    assert first.wait() == 1
