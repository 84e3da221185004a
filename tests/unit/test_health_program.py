"""The audit as it ships and as it is called: one file, its options, its channels, its documents."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import uuid
import zipfile
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from provision.checks.audit_result import read
from provision.health import build, cli, docs, ended, expect, render
from provision.health.audit import Options, audit
from provision.health.checks.all import checks
from provision.health.codes import table
from provision.health.data_files import model_of, models, text
from provision.health.limits import Limits, lint
from provision.health.places import Mistake, Placed
from provision.health.probes.all import PROBES
from provision.health.probes.log import GREP, PATTERNS, note
from provision.health.state import alone
from provision.health.words import (
    ACTIONS,
    FAIL,
    NOT_APPLICABLE,
    PASS,
    SEVERITIES,
    UNKNOWN,
    Limit,
    Part,
)
from provision.rehearsal.gpu import journal
from provision.rehearsal.gpu.state import Fault
from provision.verdict.status import Status
from tests.unit.health_support import EXPECT, SXID, XID, Recorded, one, recorded
from tests.unit.test_imports import house_imports

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / "provision/health"
SCHEMA = json.loads(text("result.schema.json"))
PYTHONS = [sys.executable, pytest.param("python3.9", marks=pytest.mark.needs("python3.9"))]


@pytest.fixture(scope="module")
def ground(tmp_path_factory) -> tuple[Path, dict[str, Any]]:
    return tmp_path_factory.mktemp("node"), {}


@pytest.fixture
def node(ground, monkeypatch) -> Recorded:
    made = recorded(ground[0], laid=ground[1])
    monkeypatch.setenv("HOLDFAST_GPUS_STATE", str(made.state_file))
    return made


@pytest.fixture(scope="module")
def packed(tmp_path_factory) -> Path:
    target = tmp_path_factory.mktemp("built") / "holdfast-health.pyz"
    build.build(target, build.locked_version((ROOT / "requirements.lock").read_text()))
    return target


def arguments(node: Recorded, *more: str) -> list[str]:
    (node.root / "@expect.json").write_text(json.dumps(node.expected))
    return [
        "--root", str(node.root), "--nvml", str(node.library.nvml), "--journal", "/log.jsonl",
        "--expect", str(node.root / "@expect.json"), *more,
    ]  # fmt: skip


@pytest.mark.parametrize("python", PYTHONS)
def test_one_file_runs_alone(node, packed, python, tmp_path):
    node.lay()
    environment = {"HOLDFAST_GPUS_STATE": str(node.state_file), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [python, "-I", "-S", packed, *arguments(node, "--json")], env=environment, cwd=tmp_path,
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.stderr, done.returncode) == ("", 0)
    result = json.loads(done.stdout)
    jsonschema.validate(result, SCHEMA)
    assert result["counts"][PASS] == len(checks()) - 2


def test_the_file_is_the_same_each_time_and_holds_the_library(packed, tmp_path):
    again = tmp_path / "again.pyz"
    build.build(again)
    assert again.read_bytes() == packed.read_bytes()
    with zipfile.ZipFile(packed) as archive:
        names = archive.namelist()
        licence = next(n for n in names if n.startswith("licenses/nvidia-ml-py-"))
        assert "Redistributions in binary form" in archive.read(licence).decode()
        library = archive.read("pynvml.py")
    assert library == build.library()["pynvml.py"]
    assert not [n for n in names if "rehearsal" in n or n.endswith(("docs.py", "build.py"))]


def test_another_version_of_the_library_is_refused(tmp_path):
    with pytest.raises(build.CannotBuild, match=r"the lock says 1\.2\.3"):
        build.build(tmp_path / "x", "1.2.3")
    with pytest.raises(build.CannotBuild, match="not pinned"):
        build.locked_version("other==1\n")
    with pytest.raises(build.CannotBuild, match="licence"):
        build.licence("import os\n")


def test_it_imports_nothing_else_of_the_house():
    files = [p for p in HOME.rglob("*.py") if "__pycache__" not in p.parts]
    assert files
    assert house_imports(files, but="provision.health") == []


def test_the_schema_knows_the_words():
    finding = SCHEMA["properties"]["findings"]["items"]["properties"]
    assert finding["action"]["enum"] == list(ACTIONS)
    assert finding["severity"]["enum"] == list(SEVERITIES)


def test_a_sick_nodes_document_fits_the_schema(node, tmp_path):
    node.strike(Fault(id="a", call="nvmlDeviceGetPowerUsage", gpu=1, answer=15))
    node.log.append(XID + "79, x")
    node.lay()
    site = tmp_path / "site"
    site.mkdir(mode=0o755)
    result = node.audit(site=site).to_json()
    jsonschema.validate(result, SCHEMA)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**result, "planted": 1}, SCHEMA)


def test_exit_codes(node, capsys, tmp_path):
    node.lay()
    assert cli.main(arguments(node, "--state", str(tmp_path))) == 0
    node.gpu({"gpus.0.temperature.gpu": 94})
    node.lay()
    assert cli.main(arguments(node)) == 1
    assert "gpu.temperature.core" in capsys.readouterr().out
    assert cli.main([*arguments(node), "--expect", "/none"]) == 2
    assert cli.main([*arguments(node), "--only", "nothing."]) == 2
    assert cli.main([*arguments(node), "--patience", "0"]) == 2
    assert cli.main(["--from", str(tmp_path / "none.json")]) == 3
    with pytest.raises(SystemExit, match="2"):
        cli.main(["--nonsense"])
    assert "Traceback" not in capsys.readouterr().err


def test_an_interrupted_audit_ends_its_children(node):
    node.strike(Fault(id="a", call="nvmlInit*", hang="sleep"))
    node.lay()
    program = [sys.executable, "-m", "provision.health", *arguments(node)]
    process = subprocess.Popen(program, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    began = time.monotonic()
    while not (found := children.read_text().split()):
        assert time.monotonic() - began < 20
        time.sleep(0.02)
    time.sleep(0.5)
    found = children.read_text().split()
    process.terminate()
    _, said = process.communicate(timeout=10)
    assert process.returncode == 130
    assert [pid for pid in found if Path(f"/proc/{pid}/cmdline").exists()] == []
    assert "interrupted" in said
    assert "Traceback" not in said


def test_a_kept_result_is_shown_while_it_is_young(node, tmp_path, capsys):
    node.lay()
    kept = tmp_path / "result.json"
    assert cli.main(arguments(node, "--out", str(kept))) == 0
    here = ["--root", str(node.root)]
    assert cli.main(["--from", str(kept), "--format", "slurm", *here]) == 0
    told = json.loads(kept.read_text())
    kept.write_text(json.dumps({**told, "boot": "another"}))
    capsys.readouterr()
    assert cli.main(["--from", str(kept), "--format", "nagios", *here]) == 3
    assert "UNKNOWN - " in capsys.readouterr().out
    assert cli.main(["--from", str(kept)]) == 0, "a person may look at any"
    kept.write_text(json.dumps({**told, "ended": time.time() - 3600}))
    capsys.readouterr()
    assert cli.main(["--from", str(kept), "--format", "slurm"]) == 3
    assert "holdfast: the audit did not run" in capsys.readouterr().out
    assert cli.main(["--from", str(kept), "--format", "nagios"]) == 3
    assert "UNKNOWN" in capsys.readouterr().out
    kept.write_text("{}")
    assert cli.main(["--from", str(kept)]) == 3


def result_with(node: Recorded, check: str) -> dict[str, Any]:
    node.lay()
    return node.audit(check).to_json()


def test_schedulers_get_one_plain_line(node):
    node.gpu({"gpus.0.modes.persistence": False})
    low = result_with(node, "gpu.persistence")
    assert render.as_reason(low).startswith("holdfast: gpu.persistence fail: 0000:1b:00.0: off")
    assert render.as_reason(low, "high") == "holdfast: ok"
    assert render.gating(low, "high") == []
    low["findings"][0]["seen"] = 'bad "quotes"; $(rm) `x` | \\ \n line' * 40
    line = render.as_reason(low)
    assert re.fullmatch(r"holdfast: [^\"'\\`$|;\n]{1,240}", line)
    assert len(line) <= 240


@pytest.mark.parametrize(
    ("status", "severity", "word"),
    [
        (PASS, "high", "ok"), (FAIL, "high", "critical"), (FAIL, "low", "warning"),
        (UNKNOWN, "low", "unknown"), (NOT_APPLICABLE, "low", "unknown"),
    ],
)  # fmt: skip
def test_nagios_has_its_own_words(node, status, severity, word):
    result = result_with(node, "gpu.vbios")
    result["findings"][0].update(status=status, severity=severity)
    result["status"] = {NOT_APPLICABLE: UNKNOWN}.get(status, status)
    line, code = render.as_nagios(result)
    assert line.startswith(f"HOLDFAST {word.upper()} - ")
    assert code == {"ok": 0, "warning": 1, "critical": 2, "unknown": 3}[word]
    assert line.count("\n") == 1


def test_prometheus_gets_a_whole_file_with_its_time(node, tmp_path):
    node.lay()
    target = tmp_path / "holdfast.prom"
    assert cli.main(arguments(node, "--textfile", str(target))) == 0
    lines = target.read_text().splitlines()
    sample = re.compile(r'^[a-z_]+\{([a-z]+="[^"\n]*",?)+\} -?\d+\.\d{3}$')
    assert [x for x in lines if not x.startswith("#") and not sample.match(x)] == []
    stamp = next(x for x in lines if x.startswith("holdfast_audit_last_run_timestamp_seconds{"))
    assert abs(float(stamp.split()[-1]) - time.time()) < 120
    for name in render.METRICS:
        assert f"# TYPE holdfast_audit_{name} gauge" in lines
    assert [p.name for p in tmp_path.iterdir()] == ["holdfast.prom"]


def planted(folder: Path, body: str, mode: int = 0o755) -> Path:
    folder.mkdir(mode=0o755, exist_ok=True)
    path = folder / "mine.sh"
    path.write_text("#!/bin/sh\n" + body + "\n")
    path.chmod(mode)
    return folder


def test_a_sites_check_is_a_finding(node, tmp_path):
    site = planted(tmp_path / "site", """echo '{"status": "pass", "seen": "42 things"}'""")
    node.lay()
    finding = one(node.audit("site.", site=site), "site.mine")
    assert (finding.status, finding.seen, finding.action) == (PASS, "42 things", "none")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("exit 3", "ended with 3"),
        ("echo hello", "JSON"),
        ("echo '[]'", "not an object"),
        ("echo '{}'", "'status'"),
        ("""echo '{"status": "fine"}'""", "'fine'"),
        ("""echo '{"status": "pass"}'""", "not what it saw"),
        ("""echo '{"status": "fail", "colour": "red"}'""", "'colour'"),
        ("""echo '{"status": "fail", "seen": 3}'""", "not a string"),
        ("kill -9 $$", "ended with -9"),
    ],
)
def test_a_sites_check_that_says_nothing_usable_is_unknown(node, tmp_path, body, says):
    site = planted(tmp_path / "site", body)
    node.lay()
    finding = one(node.audit("site.", site=site), "site.mine")
    assert (finding.status, says in finding.seen) == (UNKNOWN, True), finding.seen


def test_a_sites_check_that_hangs_is_stopped(node, tmp_path, monkeypatch):
    monkeypatch.setattr("provision.health.site.DEADLINE_S", 0.3)
    site = planted(tmp_path / "site", "sleep 30")
    node.lay()
    assert "did not end" in one(node.audit("site.", site=site), "site.mine").seen


def test_a_sites_check_that_prints_without_end_is_stopped(node, tmp_path):
    site = planted(tmp_path / "site", "exec yes")
    node.lay()
    finding = one(node.audit("site.", site=site), "site.mine")
    assert (finding.status, "printed more than 65536" in finding.seen) == (UNKNOWN, True)


def test_sites_checks_that_hang_leave_the_audit_its_time(node, tmp_path, monkeypatch):
    monkeypatch.setattr("provision.health.site.TOGETHER_S", 0.4)
    site = planted(tmp_path / "site", "sleep 30")
    for number in range(3):
        (site / f"next{number}").symlink_to(site / "mine.sh")
    node.lay()
    result = node.audit("site.", site=site)
    assert "did not end within 0.4 s" in one(result, "site.mine").seen
    for number in range(3):
        assert "; not run" in one(result, f"site.next{number}").seen


def test_a_sites_check_that_others_can_write_is_not_run(node, tmp_path):
    ran = tmp_path / "ran"
    site = planted(tmp_path / "site", f"touch {ran}", 0o777)
    node.lay()
    assert one(node.audit("site.", site=site), "site.mine").status == UNKNOWN
    assert not ran.exists()


BAD = [
    ("", ":1:1:"),
    ("{", ":1:2:"),
    ('{"a": 1, "a": 2}', "there twice"),
    ("[1, 2", ":1:6:"),
    ('{"schema": NaN}', ":1:12:"),
    ("{} {}", "more text"),
    ("[" * 100000, "nested too deeply"),
]


@pytest.mark.parametrize(("told", "says"), BAD)
def test_broken_json_has_a_place(told, says):
    with pytest.raises(Mistake, match=re.escape(says)):
        Placed(told, "f")


def test_json_is_read_as_json_reads_it():
    told = json.dumps({"a": [1, -2.5e3, {"b": None}], "c": 'x"\\\n\u00e4', "d": True, "": {}})
    assert Placed(told, "f").value == json.loads(told)
    assert Placed('{\n  "a": [1,\n 22]}', "f").at("a", 1) == "f:3:2"


def broken(**changes: Any) -> str:
    return json.dumps({**EXPECT, **changes}, indent=1)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"gpus": {"count": -1}}, "gpus.count is -1"),
        ({"gpus": {"count": True}}, "must be of type integer"),
        ({"gpus": {"cuont": 8}}, "did you mean 'count'"),
        ({"gpus": {}}, "has no 'count'"),
        ({"kind": "toaster"}, "one of metal, vm, container"),
        ({"schema": "other"}, "schema must be one of"),
        ({"security": {"selinux": "on"}}, "security.selinux"),
        ({"services": [1]}, "services.0"),
    ],
)
def test_a_mistake_in_the_declaration_has_a_place(changes, says):
    with pytest.raises(Mistake) as raised:
        expect.read(broken(**changes), "e.json")
    assert says in str(raised.value)
    assert re.match(r"e\.json:\d+:\d+: ", raised.value.problems[0])


def test_all_mistakes_come_at_once():
    with pytest.raises(Mistake) as raised:
        expect.read(broken(kind="x", gpus={"count": 99}, disks=[]), "e.json")
    assert len(raised.value.problems) == 3


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        ({"gpu.temperature.core.most": 500}, "from 40 to 110 °C"),
        ({"gpu.temperature.core.most": -1}, "from 40 to 110 °C"),
        ({"gpu.temprature": 80}, "there is no limit"),
    ],
)
def test_a_sites_limit_is_judged(limits, says):
    expected = expect.read(broken(limits=limits), "e.json")
    with pytest.raises(Mistake) as raised:
        Limits(checks(), expected)
    assert says in str(raised.value)
    assert re.match(r"e\.json:\d+:\d+: ", raised.value.problems[0])


def test_a_sites_limit_counts_before_the_models(node):
    node.gpu({"gpus.*.temperature.gpu": 60})
    node.expected["limits"] = {"gpu.temperature.core.most": 50}
    node.lay()
    assert one(node.audit("gpu.temperature.core"), "gpu.temperature.core").status == FAIL
    limits = Limits(checks(), expect.read(broken()))
    assert limits.value("gpu.temperature.core.most", "l4") == 85
    assert limits.value("gpu.temperature.core.most", "h100-sxm") == 90


def test_a_bad_limit_of_our_own_is_found():
    check = next(c for c in checks() if c.id == "gpu.rows.spares")
    wrong = Limit("gpu.other", "", 5, 0, 4, "", {"h100-sxm": float("nan")})
    object.__setattr__(check, "limits", (*check.limits, wrong))
    try:
        assert len(lint([check])) == 4
    finally:
        object.__setattr__(check, "limits", check.limits[:-1])


def test_models_are_told_apart():
    assert len({m.id for m in models()}) == len(models())
    names = [n.lower() for m in models() for n in m.names]
    assert len(set(names)) == len(names)
    pairs = {"NVIDIA H100 PCIe": "h100-pcie", "NVIDIA H200 NVL": "h200-nvl", "l40s": "l40s",
             "nvidia h200": "h200-sxm"}  # fmt: skip
    for called, wanted in pairs.items():
        found = model_of(called)
        assert found is not None
        assert found.id == wanted
    assert model_of("GeForce") is None


@pytest.mark.parametrize(("name", "count"), [("xid", 172), ("sxid", 93)])
def test_tables_of_codes_are_whole(name, count):
    codes = table(name)
    assert len(codes) == count
    for code in codes.values():
        assert code.says
        assert code.kind in ("hardware", "decides", "notice", "application")
        assert code.severity in SEVERITIES
        assert code.action in ACTIONS
        assert (code.kind in ("hardware", "decides")) <= (code.action != "none")
    if name == "xid":
        assert sorted(codes) == list(range(1, 173))


NAMES = ("pid='<unknown>', name=<unknown>, ", "pid=4711, name=python3, ", "")
BUSES = ("0000:1b:00", "0000:cb:00", "0009:01:00", "00000000:18:00.0")


def lines() -> list[tuple[str, str]]:
    """A line of each XID in real shapes, and the key under which it must be counted."""
    made = []
    for index, code in enumerate(c for c in table("xid") for _ in range(3)):
        bus = BUSES[index % len(BUSES)]
        who = bus if "." in bus else bus + ".0"
        text_ = f"NVRM: Xid (PCI:{bus}): {code}, {NAMES[index % 3]}something {index}"
        made.append((text_, f"xid|{code}|{who[-12:]}"))
    made += [
        (SXID + f"{code}, Fatal, Link 3 x", f"sxid|{code}|nvswitch0") for code in table("sxid")
    ]
    return made


def test_five_hundred_lines_are_read():
    events: dict[str, Any] = {}
    made = lines()
    assert len(made) > 500
    for order, (text_, _) in enumerate(made, 1):
        note(events, text_, 0.0, order)
    counted = {k: v["count"] for k, v in events.items() if k.startswith(("xid|", "sxid|"))}
    wanted: dict[str, int] = {}
    for _, key in made:
        wanted[key] = wanted.get(key, 0) + 1
    lost = events.get("overflow", {"count": 0})["count"]
    assert sum(counted.values()) + lost == len(made)
    assert all(wanted[key] >= number for key, number in counted.items())
    assert not [k for k in events if k.startswith("unreadable")]


@pytest.mark.parametrize(
    ("text_", "name"),
    [("NVRM: Xid (invalid): x", "xid"), ("nvidia-nvswitch0: SXid (PCI:x): xyz", "sxid")],
)
def test_a_line_that_looks_like_a_code_is_not_lost(text_, name):
    events: dict[str, Any] = {}
    note(events, text_, 0.0, 1)
    assert list(events) == [f"unreadable|{name}|"]


def test_what_journald_leaves_out_is_nothing_that_counts():
    samples = ["NVRM: Xid (PCI:0000:1b:00): 79, x", SXID + "1, x", "NVRM: loading NVIDIA UNIX"]
    samples += [
        "task x blocked for more than 120 seconds", "watchdog: BUG: soft lockup",
        "Oops: 0000", "[Hardware Error]: x", "Out of memory: Killed process 1",
        "I/O error, dev sda, x", "nvme0: I/O 1 QID 2 timeout", "EXT4-fs error (x)",
        "Remounting filesystem read-only", "md/raid1:md0: Disk failure on sda",
        "Missed 3 kernel messages", "NVRM: fallen off the bus",
    ]  # fmt: skip
    seen = set()
    for sample in samples:
        assert re.search(GREP, sample), sample
        seen |= {kind for kind, pattern in PATTERNS.items() if pattern.search(sample)}
    assert seen == set(PATTERNS)


def test_a_log_that_is_too_long_is_read_on(node, monkeypatch):
    monkeypatch.setattr("provision.health.probes.log.MOST_LINES", 2)
    node.log += [XID + "31, x", XID + "31, x"]
    node.lay()
    finding = one(node.audit("log.xid"), "log.xid")
    assert (finding.status, "longer than one audit" in finding.seen) == (UNKNOWN, True)


def test_xids_are_counted_once_over_two_audits(node):
    node.log.append(XID + "31, pid=1, name=a, x")
    node.lay()
    first, second = (one(node.audit("log.xid"), "log.xid") for _ in range(2))
    assert "XID 31: " in first.seen
    assert first.seen == second.seen


def test_the_real_journal_is_read_and_read_on(tmp_path):
    """A file of journald through journalctl, with its own filter and its own cursors."""
    path = tmp_path / "kernel.journal"
    boot, told = uuid.uuid4(), ["Linux version 5.14.0", "usb 1-1: new device", XID + "31, x"]

    def look() -> Any:
        lines = [
            journal.Line(1763894400000000 + n * 10**6, n * 10**6, boot,
                         {"MESSAGE": line, "_TRANSPORT": "kernel"})
            for n, line in enumerate(told)
        ]  # fmt: skip
        path.write_bytes(journal.render(uuid.UUID(int=7), lines))
        chosen = Options(journal=str(path), state=tmp_path / "state", only=("log.xid",))
        return one(audit(checks(), PROBES, expect.read(json.dumps(EXPECT)), chosen), "log.xid")

    first = look()
    assert (first.status, "XID 31" in first.seen) == (PASS, True), first.seen
    told += ["usb 1-1: gone", XID + "31, again", XID + "79, x"]
    second = look()
    assert (second.status, "XID 79" in second.seen) == (FAIL, True), second.seen
    assert "2 times" in "".join(p.seen for p in map(_part, second.parts))
    told.clear()
    empty = look()
    assert empty.status != PASS


def _part(told: dict[str, str]) -> Part:
    return Part(**told)


@pytest.mark.parametrize(
    "later",
    [
        "NVRM: loading NVIDIA UNIX Open Kernel Module for x86_64  580.105.08",
        XID + "154, GPU recovery action changed from 0x1 (GPU Reset Required) to 0x0 (None)",
    ],
)
def test_a_reset_clears_what_a_reset_repairs(node, later):
    node.log += [XID + "95, x", later]
    node.lay()
    assert one(node.audit("log.xid"), "log.xid").status == PASS
    node.clean()
    node.log.insert(1, XID + "79, x")
    node.lay()
    assert "XID 79" in one(node.audit("log.xid"), "log.xid").seen


def test_application_codes_never_gate(node):
    codes = [c for c in table("xid").values() if c.kind in ("application", "notice")]
    node.log += [XID + f"{c.code}, x" for c in codes if c.code != 154]
    node.lay()
    finding = one(node.audit("log.xid"), "log.xid")
    assert (finding.status, finding.seen) == (PASS, finding.seen)
    assert "XID 31" in "".join(p["seen"] for p in finding.parts)


def test_the_units_are_what_systemd_reads():
    units = sorted((HOME / "units").iterdir())
    assert [u.suffix for u in units] == [".service", ".timer"]
    done = subprocess.run(
        ["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False
    )
    said = [x for x in done.stderr.splitlines() if "holdfast-health" in x]
    # That the program is not installed here is all that it may say.
    assert [x for x in said if "not executable" not in x] == []


def test_the_units_options_are_the_programs():
    service = (HOME / "units/holdfast-health.service").read_text()
    command = re.search(r"ExecStart=((?:.*\\\n)*.*)", service)
    assert command is not None
    words = command[1].replace("\\\n", " ").split()[3:]
    cli.parser().parse_args([word for word in words if word != "$OPTIONS"])
    assert "SuccessExitStatus=1" in service


def test_every_check_has_its_page():
    made = docs.pages()
    assert {f"docs/reference/audit/{c.id}.md" for c in checks()} <= set(made)
    for name, page in made.items():
        assert page.startswith("# "), name
        for link in re.findall(r"\]\(([^)#]+)\)", page):
            there = (ROOT / "docs/reference/audit" / link).resolve().is_file()
            assert there or f"docs/reference/audit/{link}" in made, f"{name} leads to {link}"


@pytest.mark.parametrize(("result", "ok"), [("success", 1), ("timeout", 0), ("signal", 0), ("", 0)])
def test_how_an_audit_ended_is_noted(tmp_path, monkeypatch, result, ok):
    monkeypatch.setenv("SERVICE_RESULT", result)
    assert cli.main(["ended", "--state", str(tmp_path)]) == 0
    text = (tmp_path / ended.TEXTFILE).read_text()
    assert f'holdfast_audit_last_end_ok{{result="{result}"}} {ok}.000' in text
    assert [f"holdfast_audit_{name}" in text for name in ended.METRICS] == [True, True]
    said = ended.last_failure(tmp_path)
    assert bool(said) is (ok == 0)
    assert ("cut off" in said) is (result == "timeout")
    assert cli.main(["ended", "--state", "/none"]) == 3


def test_what_a_killed_writer_left_is_swept_away(node, tmp_path):
    old, young = tmp_path / ".result.json.abcd1234", tmp_path / ".state.json.abcd1234"
    for path in (old, young):
        path.write_text("{")
    os.utime(old, (1, 1))
    node.lay()
    with alone(tmp_path):
        pass
    assert (old.exists(), young.exists()) == (False, True)


@pytest.mark.parametrize(
    ("name", "check", "says"),
    [
        ("mine.py", "site.mine", "mine.py and mine.sh have the same id"),
        ("my disks.sh", "site.my-disks", "'my disks.sh' can be no id"),
    ],
)
def test_a_sites_check_without_an_id_of_its_own_is_not_run(node, tmp_path, name, check, says):
    site = planted(tmp_path / "site", f"touch {tmp_path}/ran; echo '{{}}'")
    (site / "mine.sh").rename(site / name)
    if check == "site.mine":
        planted(site, f"touch {tmp_path}/ran")
    node.lay()
    result = node.audit("site.", site=site)
    finding = one(result, check)
    assert (finding.status, says in finding.seen) == (UNKNOWN, True), finding.seen
    assert not (tmp_path / "ran").exists()
    assert read(json.dumps(result.to_json()).encode(), result.node).status is Status.UNKNOWN
