"""What could not be seen is never a pass: errors, hangs, crashes, cut answers, missing rights."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from provision.health import children, expect, state
from provision.health.audit import Options, audit
from provision.health.checks.all import checks
from provision.health.children import Probe
from provision.health.expect import Expected
from provision.health.probes.all import PROBES
from provision.health.probes.nvml import CODES
from provision.health.state import Busy
from provision.health.words import FAIL, NOT_APPLICABLE, PASS, UNKNOWN
from provision.rehearsal.gpu.state import Fault
from tests.unit.health_support import Recorded, one, recorded

pytestmark = pytest.mark.slow
ALIVE = ("gpu.presence.pci", "gpu.switches", "gpu.driver.agreement", "gpu.driver.version",
         "gpu.driver.modules", "gpu.pcie.aer")  # fmt: skip
"""Checks of GPUs that ask the kernel and not the GPU."""


@pytest.fixture(scope="module")
def ground(tmp_path_factory) -> tuple[Path, dict[str, Any]]:
    return tmp_path_factory.mktemp("node"), {}


@pytest.fixture
def node(ground, monkeypatch) -> Recorded:
    made = recorded(ground[0], laid=ground[1])
    monkeypatch.setenv("HOLDFAST_GPUS_STATE", str(made.state_file))
    return made


def struck(node: Recorded, check: str, **fault: Any):
    node.strike(Fault(id="planted", **fault))
    node.lay()
    return one(node.audit(check), check)


@pytest.mark.parametrize("code", sorted(CODES))
def test_no_code_of_a_reading_passes(node, code):
    finding = struck(node, "gpu.temperature.core", call="nvmlDeviceGetTemperatureV", gpu=2,
                     answer=code)  # fmt: skip
    assert finding.status == UNKNOWN
    assert f"NVML {code}:" in finding.seen
    assert "0000:45:00.0" in finding.seen


@pytest.mark.parametrize("code", sorted(CODES))
def test_no_code_of_the_start_passes(node, code):
    node.strike(Fault(id="planted", call="nvmlInit*", answer=code))
    node.lay()
    result = node.audit("gpu.presence.driver", "gpu.temperature", "gpu.vbios")
    assert {f.status for f in result.findings} <= {FAIL, UNKNOWN}
    assert all(f"NVML {code}:" in f.seen for f in result.findings)


@pytest.mark.parametrize("code", [4, 15, 21, 999])
def test_no_gpu_check_passes_when_every_call_fails(node, code):
    node.strike(Fault(id="planted", call="nvmlDevice*", answer=code))
    node.lay()
    passed = [f.check for f in node.audit("gpu.").findings if f.status == PASS]
    assert sorted(passed) == sorted(ALIVE)


def test_a_gpu_that_answers_no_question_is_not_present(node):
    node.strike(Fault(id="a", call="nvmlDeviceGet[!HP]*", gpu=3, answer=999),
                Fault(id="b", call="nvmlDeviceGetP[!c]*", gpu=3, answer=999),
                Fault(id="c", call="nvmlDeviceGetPcie*", gpu=3, answer=999),
                Fault(id="d", call="field:*", gpu=3, answer=999))  # fmt: skip
    node.lay()
    finding = one(node.audit("gpu.presence.driver"), "gpu.presence.driver")
    assert (finding.status, "0000:4e:00.0 answers no question" in finding.seen) == (UNKNOWN, True)


@pytest.mark.parametrize(
    "change", [{"gpus.3.enumerated": False}, {"gpus.3.enumerated": False, "gpus.3.on_bus": False}]
)
def test_what_nobody_could_ask_a_gpu_is_unknown(node, change):
    node.gpu(change)
    node.lay()
    result = node.audit("gpu.")
    unasked = [f for f in result.findings if f.check not in ALIVE and f.status == PASS]
    assert [f.check for f in unasked] == []
    assert "does not show" in one(result, "gpu.power").seen


def test_a_gpu_whose_handle_fails_is_unknown_to_the_other_checks(node):
    node.strike(Fault(id="a", call="nvmlDeviceGetHandleByIndex*", gpu=3, answer=15))
    node.lay()
    result = node.audit("gpu.power", "gpu.vbios", "gpu.pages", "gpu.presence.driver")
    statuses = {f.check: f.status for f in result.findings}
    assert statuses == {"gpu.presence.driver": FAIL, "gpu.power": UNKNOWN, "gpu.vbios": UNKNOWN,
                        "gpu.pages": NOT_APPLICABLE}  # fmt: skip


def test_a_handle_that_is_refused_says_nothing_of_the_gpu(node):
    finding = struck(node, "gpu.presence.driver", call="nvmlDeviceGetHandleByIndex*", gpu=3,
                     answer=4)  # fmt: skip
    assert (finding.status, "permission denied" in finding.seen) == (UNKNOWN, True)


@pytest.mark.parametrize("code", [4, 999])
def test_gpus_that_cannot_be_counted_are_unknown(node, code):
    node.strike(Fault(id="a", call="nvmlDeviceGetCount*", answer=code))
    node.lay()
    result = node.audit("gpu.presence.driver", "gpu.power")
    assert {f.status for f in result.findings} == {UNKNOWN}
    assert all(f"nvmlDeviceGetCount: NVML {code}:" in f.seen for f in result.findings)


@pytest.mark.parametrize("how", [{"answer": 999}, {"hang": "sleep"}, {"signal": 11}])
def test_a_library_that_does_not_come_to_its_end_is_unknown(node, how):
    node.strike(Fault(id="a", call="nvmlShutdown", **how))
    node.lay()
    result = node.audit("gpu.presence.driver", "gpu.power", patience=0.2)
    assert one_status(result, "gpu.presence.driver") == UNKNOWN
    assert one_status(result, "gpu.power") == PASS


@pytest.mark.parametrize("ends", [lambda: time.sleep(60), lambda: os._exit(3)])
def test_a_call_that_never_ends_is_the_drivers_failure(node, ends):
    """Also where the child could not be ended, and so was not started again without that GPU."""
    node.lay()

    def look(ask):
        for part, value in (("nvml.init", {"code": 0}), ("nvml.count", 8), ("nvml.gpus", [])):
            ask.say(part, value)
        ask.progress.doing("gpu:0000:4e:00.0 nvmlDeviceGetMigMode")
        ends()

    probe = Probe("nvml", ("nvml", "gpu"), look, deadline=0.3)
    result = audit(checks(), [probe], expect.read(json.dumps(node.expected)),
                   Options(root=node.root, only=("gpu.presence.driver",)))  # fmt: skip
    finding = one(result, "gpu.presence.driver")
    assert (finding.status, finding.action) == (FAIL, "reboot")
    assert "nvmlDeviceGetMigMode" in finding.seen


@pytest.mark.parametrize("code", [2, 3])
def test_links_that_cannot_be_asked_are_unknown(node, code):
    finding = struck(node, "gpu.nvlink.state", call="nvmlDeviceGetNvLinkState", gpu=2, answer=code)
    assert (finding.status, f"NVML {code}:" in finding.seen) == (UNKNOWN, True)


def test_link_counters_that_are_not_all_there_are_unknown(node):
    node.strike(Fault(id="a", call="nvmlDeviceGetNvLinkErrorCounter", gpu=2, answer=3),
                Fault(id="b", call="field:161", gpu=2, answer=999))  # fmt: skip
    node.lay()
    finding = one(node.audit("gpu.nvlink.errors"), "gpu.nvlink.errors")
    assert (finding.status, "field 161 of link 0: NVML 999" in finding.seen) == (UNKNOWN, True)


def test_a_uuid_that_is_cut_is_unknown(node):
    finding = struck(node, "gpu.identity", call="nvmlDeviceGetUUID", gpu=3, truncate=7)
    assert (finding.status, "not a whole UUID" in finding.seen) == (UNKNOWN, True)


def test_an_address_that_is_no_text_is_that_gpus(node):
    node.strike(Fault(id="a", call="nvmlDeviceGetPciInfo*", gpu=3, bytes="fffe80"))
    node.lay()
    result = node.audit("gpu.presence.driver", "gpu.power")
    assert (one_status(result, "gpu.presence.driver"), one_status(result, "gpu.power")) == (
        FAIL, UNKNOWN,
    )  # fmt: skip
    assert "address is no text" in one(result, "gpu.presence.driver").seen


def test_not_supported_is_not_applicable_only_where_the_model_says_so(node):
    call = {"call": "nvmlDeviceGetRemappedRows", "answer": 3}
    assert struck(node, "gpu.rows.pending", **call).status == UNKNOWN
    node.expected["gpus"]["model"] = "Tesla T4"
    assert struck(node, "gpu.rows.pending", **call).status == NOT_APPLICABLE
    node.expected["gpus"]["model"] = "a model that nobody knows"
    assert struck(node, "gpu.rows.pending", **call).status == UNKNOWN


def test_without_rights_the_threshold_is_unknown(node):
    finding = struck(node, "gpu.ecc.sram", call="nvmlDeviceGetSramEccErrorStatus", answer=4)
    assert finding.status == UNKNOWN
    assert "permission was denied" in finding.seen


def test_a_hanging_gpu_is_named_and_the_others_are_seen(node):
    node.strike(Fault(id="planted", call="nvmlDeviceGetPowerUsage", gpu=3, hang="sleep"))
    node.lay()
    result = node.audit("gpu.presence.driver", "gpu.power", "gpu.vbios", patience=0.1)
    driver = one(result, "gpu.presence.driver")
    assert driver.status == FAIL
    assert "0000:4e:00.0" in driver.seen
    assert "nvmlDeviceGetPowerUsage did not end" in driver.seen
    power = one(result, "gpu.power")
    assert {p["entity"]: p["status"] for p in power.parts} == {
        g.pci.address: UNKNOWN if index == 3 else PASS for index, g in enumerate(node.gpus.gpus)
    }
    assert result.left_behind == []


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL])
def test_a_crashing_call_is_named_and_the_others_are_seen(node, number):
    finding = struck(node, "gpu.power", call="nvmlDeviceGetPowerUsage", gpu=3, signal=int(number))
    assert finding.status == UNKNOWN
    bad = [p for p in finding.parts if p["status"] != PASS]
    assert [p["entity"] for p in bad] == ["0000:4e:00.0"]
    assert f"by signal {int(number)}" in bad[0]["seen"]


def test_a_hanging_start_is_unknown(node):
    node.strike(Fault(id="planted", call="nvmlInit*", hang="sleep"))
    node.lay()
    began = time.monotonic()
    result = node.audit("gpu.", patience=0.1)
    assert time.monotonic() - began < 5
    assert one(result, "gpu.vbios").status == UNKNOWN
    assert "nvmlInit did not end" in one(result, "gpu.vbios").seen


def test_a_cut_text_is_another_version(node):
    assert struck(node, "gpu.gsp", call="nvmlDeviceGetGspFirmwareVersion", gpu=0,
                  truncate=3).status == FAIL  # fmt: skip


@pytest.mark.parametrize("call", ["nvmlDeviceGetName", "nvmlDeviceGetUUID"])
def test_bytes_that_are_no_text_break_nothing(node, call):
    node.strike(Fault(id="planted", call=call, bytes="fffe80"))
    node.expected["gpus"]["uuids"] = [g.uuid for g in node.gpus.gpus]
    node.lay()
    assert one(node.audit("gpu.identity"), "gpu.identity").status in (FAIL, UNKNOWN)


def test_without_a_declaration_nothing_about_presence_passes(node):
    node.lay()
    options = Options(root=node.root, library=str(node.library.nvml), journal="/log.jsonl")
    result = audit(checks(), PROBES, Expected(), options)
    assert one_status(result, "gpu.presence.pci") == UNKNOWN
    assert one_status(result, "gpu.presence.driver") == UNKNOWN
    assert result.status == UNKNOWN


def one_status(result, check: str) -> str:
    return one(result, check).status


def test_where_no_gpu_is_declared_none_is_looked_for(node):
    node.expected["gpus"] = {"count": 0}
    node.lay()
    statuses = {f.check: f.status for f in node.audit("gpu.").findings}
    assert statuses.pop("gpu.presence.pci") == FAIL, "eight are there"
    assert set(statuses.values()) == {NOT_APPLICABLE}


@pytest.mark.parametrize(
    ("name", "check"),
    [
        ("proc/mounts", "host.mounts"),
        ("proc/meminfo", "host.memory"),
        ("proc/modules", "security.modules"),
        ("sys/kernel/security/lsm", "security.selinux"),
        ("proc/sys/crypto/fips_enabled", "security.fips"),
        ("etc/crypto-policies/state/current", "security.crypto_policy"),
        ("proc/cmdline", "host.kernel"),
        ("proc/driver/nvidia/version", "gpu.driver.version"),
        ("log.jsonl", "log.xid"),
    ],
)
def test_a_missing_or_empty_source_never_passes(node, name, check):
    node.files["sys/fs/selinux/enforce"] = None
    node.lay()
    (node.root / name).unlink()
    node.laid.pop(name)
    assert one(node.audit(check), check).status == UNKNOWN
    (node.root / name).write_text("")
    node.clean()
    assert one(node.audit(check), check).status != PASS


def test_a_command_that_hangs_costs_no_other_answer(node):
    node.commands |= {"auditctl -s": "!sleep 30", "chronyc": "!sleep 30", "modinfo": "!sleep 30"}
    node.lay()
    result = node.audit("security.", "host.", "gpu.driver", patience=0.2)
    unknown = {f.check for f in result.findings if f.status == UNKNOWN}
    assert unknown == {"security.audit", "host.time", "gpu.driver.agreement"}
    assert "chronyc did not end within 0.8 s" in one(result, "host.time").seen


@pytest.mark.parametrize(
    ("command", "answer", "check"),
    [
        ("chronyc", "!exit 1", "host.time"),
        ("chronyc", "506 Cannot talk to daemon", "host.time"),
        ("chronyc", "!sleep 30", "host.time"),
        ("auditctl -s", "!exit 4", "security.audit"),
        ("auditctl -s", "!kill -9 $$", "security.audit"),
        ("auditctl -s", "nothing useful\n", "security.audit"),
        ("modinfo", "!exit 1", "gpu.driver.agreement"),
        ("nvidia-ctk", "no version here", "container.toolkit"),
        ("systemctl show", "", "host.services"),
        (
            "systemctl show",
            "Id=chronyd.service\nLoadState=loaded\nActiveState=active\n",
            "host.services",
        ),
        ("modinfo", "", "gpu.driver.agreement"),
        ("systemctl list-units", "!exit 1", "host.units"),
    ],
)
def test_a_command_that_fails_never_passes(node, command, answer, check):
    node.commands[command] = answer
    node.lay()
    finding = one(node.audit(check, patience=0.1), check)
    assert (finding.status, finding.seen) == (UNKNOWN, finding.seen)


def test_an_unknown_xid_is_shown_and_gates(node):
    node.log.append("NVRM: Xid (PCI:0000:1b:00): 999, something new")
    node.lay()
    finding = one(node.audit("log.xid"), "log.xid")
    assert finding.status == UNKNOWN
    assert "XID 999" in finding.seen
    assert "something new" in finding.seen


def test_lost_lines_make_the_log_unknown(node):
    node.log.append("systemd-journald[1]: Missed 12 kernel messages")
    node.lay()
    assert one(node.audit("log.xid"), "log.xid").status == UNKNOWN


@pytest.mark.parametrize(
    ("told", "status"),
    [
        ("!cat; exit 0", PASS),
        ("!cat; echo 'Failed to iterate: Bad message' >&2; exit 1", UNKNOWN),
        ("!cat; kill -9 $$", UNKNOWN),
        ('!case "$*" in *" -n "*) cat;; *) exit 1;; esac', PASS),
        ('!case "$*" in *" -n "*) cat;; *) echo \'Bad message\' >&2; exit 1;; esac', UNKNOWN),
    ],
)
def test_a_journal_that_ends_early_is_unknown(node, told, status):
    line = json.dumps({"MESSAGE": "Linux version", "__CURSOR": "c"})
    node.commands["journalctl"] = told.replace("cat", f"echo '{line}'")
    node.lay()
    options = Options(root=node.root, state=node.root / "@state", only=("log.xid",))
    result = audit(checks(), PROBES, expect.read(json.dumps(node.expected)), options)
    finding = one(result, "log.xid")
    assert (finding.status, finding.seen) == (status, finding.seen)


@pytest.mark.parametrize(
    ("name", "text", "check"),
    [
        ("proc/meminfo", "MemTotal: 2113929216 kB\nMemAvailable: 2000000000 kB\n", "host.memory"),
        ("proc/meminfo", "MemTotal: 2113929216 kB\nMemAvailable: 2000000000 kB\nSwapTotal: 0 kB\n",
         "host.memory"),
        ("sys/bus/pci/devices/0000:1b:00.0/aer_dev_fatal", "Undefined 0\nDLP 0\n",
         "gpu.pcie.aer"),
        ("sys/bus/pci/devices/0000:1b:00.0/aer_dev_fatal", "Undefined 0\nDLP 0\n", "gpu.switches"),
        ("proc/driver/nvidia/gpus/0000:1b:00.0/information", "Model: \t x\n",
         "gpu.driver.modules"),
        ("proc/4242/maps", "", "container.gpu"),
    ],
)  # fmt: skip
def test_a_file_that_ends_early_never_passes(node, name, text, check):
    node.files[name] = text
    node.lay()
    finding = one(node.audit(check), check)
    assert (finding.status, finding.seen) == (UNKNOWN, finding.seen)


def test_a_file_that_is_too_long_is_not_cut_silently(node):
    node.files["proc/modules"] = "x 1 0 - Live 0x0\n" * 100_000
    node.lay()
    finding = one(node.audit("gpu.driver.modules"), "gpu.driver.modules")
    assert (finding.status, "the answer ended early" in finding.seen) == (UNKNOWN, True)


def planted(look, **more: Any) -> Probe:
    return Probe("planted", ("planted",), look, **more)


def seen_by(look, **more: Any):
    return children.run([planted(look, **more)], lambda _: {})


def test_a_probe_that_says_nothing_is_truncated():
    sight = seen_by(lambda ask: os._exit(0))
    assert (sight.runs[0].status, sight.runs[0].left_behind) == ("truncated", False)


def test_what_a_probe_said_before_it_died_counts():
    def look(ask):
        ask.say("planted.a", 1)
        os.kill(os.getpid(), signal.SIGKILL)

    sight = seen_by(look)
    assert sight.values == {"planted.a": 1}
    assert sight.runs[0].status == "crash"


def test_a_probe_that_says_half_a_line_is_truncated():
    def look(ask):
        ask.tell(b'{"p": "planted.a", "v": ')
        os._exit(0)

    assert seen_by(look).runs[0].status == "truncated"


def test_a_probe_that_breaks_is_an_error():
    def look(ask):
        raise RuntimeError("planted")

    sight = seen_by(look)
    assert (sight.runs[0].status, "planted" in sight.runs[0].reason) == ("error", True)


def test_a_probe_that_ignores_signals_and_leaves_children_ends():
    def look(ask):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child = os.fork()
        if child == 0:
            time.sleep(60)
        ask.say("planted.pid", child)
        time.sleep(60)

    began = time.monotonic()
    sight = seen_by(look, deadline=0.3)
    assert time.monotonic() - began < 3
    assert sight.runs[0].status == "hang"
    stat = Path(f"/proc/{sight.values['planted.pid']}/stat")
    while stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] not in "ZX":
        assert time.monotonic() - began < 5
        time.sleep(0.01)


def test_a_probe_that_floods_is_stopped():
    def look(ask):
        while True:
            ask.tell(b"x" * 65536)

    assert seen_by(look, deadline=5).runs[0].status == "error"


@pytest.fixture
def stuck(tmp_path):
    """A folder that nobody who looks at it comes back from."""
    folder = tmp_path / "stuck"
    folder.mkdir()
    program = Path(__file__).with_name("stuck_fuse.py")
    server = subprocess.Popen([sys.executable, program, folder], stdout=subprocess.PIPE)
    assert server.stdout is not None
    assert server.stdout.readline() == b"ready\n"
    yield folder, server
    server.kill()
    server.communicate()
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.needs("root", "fuse")
def test_a_probe_that_cannot_be_killed_is_left_behind_and_not_stacked(node, stuck):
    folder, server = stuck
    node.lay()
    options = Options(root=node.root, state=node.root / "@state", only=("gpu.vbios",))

    def look(ask):
        ask.progress.doing(f"looking at {folder.name}")
        folder.stat()

    def again():
        probe = Probe("nvml", ("nvml", "gpu"), look, deadline=0.3)
        return audit(checks(), [probe], Expected(), options)

    began = time.monotonic()
    first = again()
    assert time.monotonic() - began < 30, "it must not be waited for"
    assert "cannot be killed and was left behind" in one(first, "gpu.vbios").seen
    assert one(first, "gpu.vbios").status == UNKNOWN
    pid = int(first.left_behind[0]["pid"])
    assert Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "D"
    second = again()
    assert f"the process {pid} of an earlier audit still hangs" in one(second, "gpu.vbios").seen
    assert [p.pid for p in second.probes] == [0], "no second child was started"
    server.kill()
    os.waitpid(pid, 0)
    third = again()
    assert third.left_behind == []


def test_two_audits_do_not_run_at_once(node):
    node.lay()
    with state.alone(node.root / "@state"), pytest.raises(Busy, match=str(os.getpid())):
        node.audit("gpu.vbios")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": "other"}', "\0\1", '{"schema": 1}'])
def test_a_damaged_state_begins_a_new_window(node, text):
    node.lay()
    node.audit("gpu.pcie.replay")
    (node.root / "@state" / state.NAME).write_text(text)
    result = node.audit("gpu.pcie.replay")
    assert one(result, "gpu.pcie.replay").status == PASS
    assert "the kept state" in result.notes[0]


def test_another_boot_and_a_falling_counter_begin_a_new_window(node):
    node.gpu({"gpus.*.pci.counters.replays": 500})
    node.lay()
    node.audit("gpu.pcie.replay")
    node.later()
    node.gpu({"gpus.*.pci.counters.replays": 20})
    node.lay()
    assert one(node.audit("gpu.pcie.replay"), "gpu.pcie.replay").status == UNKNOWN
    node.files["proc/sys/kernel/random/boot_id"] = "another"
    node.lay()
    result = node.audit("gpu.pcie.replay")
    assert result.notes == ["the node was restarted"]
    assert json.loads((node.root / "@state" / state.NAME).read_text())["boot"] == "another"
