"""What one start of an image's disk comes to, and what goes into the copy that is started."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from provision.cli.main import main
from provision.core.emulator import Accelerator
from provision.core.exitcodes import ExitCode
from provision.core.problems import HoldfastError
from provision.image import booting, qemu, secureboot
from provision.image.booting import Booted, findings
from provision.image.qemu import Firmware, Machine, Outcome, Start
from provision.image.sandbox import Sandbox
from provision.verdict.model import Status
from tests.unit.rehearsal_support import Commands

NONCE = "5eed"
WELL = {"nonce": NONCE, "state": "running", "failed": [], "secure_boot": "1", "kernel": "6.12.0",
        "boot": "one"}  # fmt: skip
DENIED = 'BdsDxe: failed to load Boot0001 "UEFI Misc Device" from PciRoot(0x0)/Pci(0x2,0x0)'
MIB = 1024 * 1024


def says(**changed: Any) -> str:
    return qemu.MARK + json.dumps({**WELL, **changed})


@pytest.mark.parametrize(
    ("text", "ended", "outcome"),
    [
        (says(), True, Outcome.ANSWERED),
        (f"[ 9.1] {says()} [ 9.2] audit: more", True, Outcome.ENDED),
        (says()[:40] + "[ 9.2] audit\n" + says(), True, Outcome.ANSWERED),
        (says(), False, Outcome.STAYED),
        (says(nonce="of another run"), True, Outcome.ENDED),
        (f"{DENIED}: Access Denied\n", False, Outcome.REFUSED),
        (f"{DENIED}: Not Found\n", False, Outcome.SILENT),
        ("Kernel panic - not syncing: VFS\nlast\n", True, Outcome.ENDED),
        ("", True, Outcome.ENDED),
        ("Reached target multi-user.target\nlogin: ", False, Outcome.SILENT),
        (f"{qemu.MARK}[]", False, Outcome.SILENT),
    ],
)
def test_only_the_systems_own_whole_line_of_this_run_is_an_answer(
    text: str, ended: bool, outcome: Outcome
) -> None:
    assert qemu.judged(text, NONCE, ended=ended, seconds=1).outcome is outcome


def test_what_ended_a_start_is_named() -> None:
    assert "Access Denied" in qemu.judged(f"{DENIED}: Access Denied\n", NONCE, ended=False,
                                          seconds=1).line  # fmt: skip
    panic = qemu.judged("Kernel panic - not syncing\nmore", NONCE, ended=True, seconds=1)
    assert panic.line.startswith("Kernel panic")


def test_colours_and_cursors_of_a_console_hide_nothing(tmp_path: Path) -> None:
    file = tmp_path / "serial"
    file.write_bytes(b"\x1b[2J\x1b[0;32m OK \x1b[0m\r\n" + says().encode() + b"\r\n\xff\0")
    assert qemu.report(qemu.serial_text(file), NONCE) == WELL


def statuses(booted: Booted) -> dict[str, Status]:
    return {one.check: one.status for one in findings("disk", booted)}


def answered(**changed: Any) -> Start:
    return Start(Outcome.ANSWERED, 1, "", {**WELL, **changed})


def test_two_starts_where_all_is_well_pass() -> None:
    found = statuses(Booted(answered(), answered(boot="two"), "emulated", secure=True))
    assert set(found) == {"boot.secure", "boot.first", "boot.first_units", "boot.second",
                          "boot.second_units"}  # fmt: skip
    assert set(found.values()) == {Status.PASS}


@pytest.mark.parametrize(
    ("first", "second", "check", "status"),
    [
        (answered(state="degraded", failed=["a.service"]), answered(), "boot.first_units", "fail"),
        (answered(), answered(state="degraded", failed=["a"]), "boot.second_units", "fail"),
        (answered(state="starting"), answered(), "boot.first_units", "fail"),
        (answered(secure_boot="0"), answered(), "boot.secure", "fail"),
        (answered(secure_boot=""), answered(), "boot.secure", "fail"),
        (answered(), Start(Outcome.ENDED, 1, "panic"), "boot.second", "fail"),
        (answered(), Start(Outcome.SILENT, 1, "login:"), "boot.second", "unknown"),
        (answered(), Start(Outcome.SILENT, 1), "boot.second_units", "unknown"),
        (Start(Outcome.STAYED, 1, "", WELL), None, "boot.first", "fail"),
        (Start(Outcome.REFUSED, 1, "Access Denied"), None, "boot.secure", "fail"),
        (Start(Outcome.REFUSED, 1, "Access Denied"), None, "boot.first", "fail"),
        (Start(Outcome.SILENT, 1), None, "boot.secure", "unknown"),
        (Start(Outcome.SILENT, 1), None, "boot.second", "unknown"),
    ],
)
def test_what_is_not_well_fails_and_what_is_not_known_is_unknown(
    first: Start, second: Start | None, check: str, status: str
) -> None:
    assert statuses(Booted(first, second, "", secure=True))[check] is Status(status)


def test_secure_boot_is_judged_only_where_it_was_asked_for() -> None:
    assert "boot.secure" not in statuses(Booted(answered(), answered(), "", secure=False))


def script(text: str) -> str:
    """The shell's own words of a unit, as systemd reads them."""
    line = next(one for one in text.splitlines() if one.startswith("ExecStart="))
    word = line.removeprefix('ExecStart=/bin/sh -c "').removesuffix('"')
    word = word.replace("\\\\", "\0").replace('\\"', '"').replace("\0", "\\")
    return word.replace("%%", "%").replace("$$", "$")


def test_the_unit_says_what_systemd_thinks_and_turns_the_machine_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = Commands(tmp_path / "bin", monkeypatch)
    commands.add(
        "systemctl",
        r"""case $1 in
        is-system-running) echo degraded; exit 1 ;;
        list-units) printf 'dev-a\\x2db.mount loaded failed failed A b\nc@1.service x\n' ;;
    esac""",
    )
    commands.add("sleep")
    shell = script(booting.unit(NONCE))
    for port in ("/dev/ttyS0", "/dev/console"):
        shell = shell.replace(port, "/dev/stdout")
    done = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=True)
    found = qemu.report(done.stdout, NONCE)
    assert found is not None
    assert found["failed"] == ["dev-a\\x2db.mount", "c@1.service"]
    assert found["state"] == "degraded"
    assert done.stdout.count(qemu.MARK) == 3
    assert commands.said[0] == "systemctl is-system-running --wait"
    assert commands.said[-1] == "systemctl --no-block poweroff"


def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "a,b.raw", Firmware(tmp_path / "code", tmp_path / "vars"),
                   Accelerator(("-machine", "q35")))  # fmt: skip


def emulator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> Commands:
    commands = Commands(tmp_path / "bin", monkeypatch)
    commands.add(f"qemu-system-{os.uname().machine}", f"serial=${{@: -1}}\n{body}")
    return commands


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (f"echo '{says()}' >${{serial#file:}}", Outcome.ANSWERED),
        (f"echo '{DENIED}: Access Denied' >${{serial#file:}}; exec sleep 60", Outcome.REFUSED),
        ("echo 'Kernel panic' >${serial#file:}", Outcome.ENDED),
    ],
)
def test_a_start_ends_with_its_first_proof(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, outcome: Outcome
) -> None:
    commands = emulator(tmp_path, monkeypatch, body)
    found = qemu.start(machine(tmp_path), tmp_path / "serial", NONCE, 50)
    assert found.outcome is outcome
    assert found.seconds < 50
    assert "a,,b.raw" in commands.said[0]
    assert "property=secure,value=on" in commands.said[0]


def test_a_machine_that_says_nothing_is_ended_at_its_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator(tmp_path, monkeypatch, "exec sleep 60")
    found = qemu.start(machine(tmp_path), tmp_path / "serial", NONCE, 0.5)
    assert found.outcome is Outcome.SILENT


def test_an_emulator_that_starts_nothing_is_no_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator(tmp_path, monkeypatch, "echo 'qemu: no such disk' >&2; exit 1")
    with pytest.raises(HoldfastError, match="no such disk") as caught:
        qemu.start(machine(tmp_path), tmp_path / "serial", NONCE, 50)
    assert caught.value.exit_code is ExitCode.NOT_DONE


def disk_of(folder: Path) -> Path:
    """A disk with a partition for firmware and a root, by the tools that images are made with."""
    disk, root = folder / "disk.raw", folder / "root"
    (root / "etc/systemd/system").mkdir(parents=True)
    disk.touch()
    os.truncate(disk, 64 * MIB)
    table = ("label: gpt\nstart=1MiB,size=32MiB,type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B\n"
             "start=33MiB,size=30MiB,type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709\n")  # fmt: skip
    subprocess.run(["sfdisk", "-q", disk], input=table.encode(), check=True)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", root, "-E", f"offset={33 * MIB}", disk,
                    "30M"], check=True, capture_output=True)  # fmt: skip
    return disk


@pytest.mark.needs("user_namespaces")
@pytest.mark.parametrize("kind", ["raw", "qcow2"])
def test_the_unit_goes_into_a_copy_and_the_disk_stays_as_it_is(tmp_path: Path, kind: str) -> None:
    disk = given = disk_of(tmp_path)
    if kind == "qcow2":
        given = tmp_path / "named.raw"
        subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", disk, given], check=True)
    before = given.read_bytes()
    work = tmp_path / "work"
    work.mkdir()
    sandbox, copy = Sandbox(writable=(work,)), work / "copy.raw"
    booting._copy(given, copy, sandbox)
    parts = booting._parts(copy, sandbox, disk)
    booting._add_unit(copy, parts[booting._ROOT], sandbox, booting.unit(NONCE))
    at = f"{copy}?offset={33 * MIB}"
    found = subprocess.run(
        ["debugfs", "-R", "stat /etc/systemd/system/holdfast-boot-test.service", at],
        capture_output=True, text=True, check=True).stdout  # fmt: skip
    assert "Mode:  0644" in found
    assert "security.selinux (40)" in found
    # What firmware reads has not changed by a byte.
    assert copy.read_bytes()[MIB : 33 * MIB] == disk.read_bytes()[MIB : 33 * MIB]
    assert given.read_bytes() == before


def test_a_file_system_that_takes_no_unit_is_no_start(tmp_path: Path) -> None:
    disk = tmp_path / "disk.raw"
    disk.touch()
    os.truncate(disk, 8 * MIB)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", disk], check=True, capture_output=True)
    with pytest.raises(HoldfastError, match="did not add the unit"):
        booting._add_unit(disk, 0, Sandbox(writable=(tmp_path,)), booting.unit(NONCE))


def test_what_cannot_be_started_is_said_before_anything_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.raw").write_text("no disk")
    for words, code in (
        ([tmp_path / "absent"], "no "),
        ([tmp_path / "empty"], "holds no disk"),
        ([tmp_path / "text.raw"], "no disk that firmware"),
        ([tmp_path / "text.raw", "--wait", "0"], "no time"),
        ([tmp_path / "text.raw", "--secure-boot", tmp_path / "empty"], "no "),
    ):
        assert main(["image", "boot", *map(str, words)]) == ExitCode.USAGE
        assert code in capsys.readouterr().err


@pytest.mark.needs("ovmf")
def test_firmware_gets_the_sites_keys_and_no_others(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    secureboot.make_keys(keys, "Site")
    found = qemu.firmware(tmp_path, keys)
    held = found.variables.read_bytes()
    for name in secureboot.NAMES:
        pem = (keys / f"{name}.crt").read_text()
        der = base64.b64decode("".join(pem.splitlines()[1:-1]))
        assert held.count(der) == 1
    assert "Microsoft".encode("utf-16-le") not in held
    assert b"Microsoft" not in held
    (keys / "KEK.crt").unlink()
    with pytest.raises(HoldfastError, match=r"no KEK\.crt") as caught:
        qemu.firmware(tmp_path, keys)
    assert caught.value.exit_code is ExitCode.USAGE


@pytest.mark.parametrize(
    ("booted", "code"),
    [
        (Booted(answered(), answered(boot="two"), "emulated", secure=True), ExitCode.OK),
        (Booted(Start(Outcome.REFUSED, 1, "Access Denied"), None, "", secure=True),
         ExitCode.FINDINGS),
        (Booted(Start(Outcome.SILENT, 1, "login:"), None, "", secure=True), ExitCode.FINDINGS),
    ],
)  # fmt: skip
def test_a_verdict_says_what_each_disk_came_to(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    booted: Booted,
    code: ExitCode,
) -> None:
    for name in ("raw/node.raw", "qcow2/node.qcow2"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    monkeypatch.setattr("provision.cli.image.booting.boot", lambda *_, **__: booted)
    assert main(["image", "boot", str(tmp_path), "--json"]) == code
    verdict = json.loads(capsys.readouterr().out)
    assert verdict["schema"] == "holdfast.verdict/1"
    assert {one["name"] for one in verdict["nodes"]} == {"node.raw", "node.qcow2"}
    assert len(verdict["findings"]) == 10
    assert (verdict["status"] == "pass") is (code is ExitCode.OK)
