"""`image boot`: a copy of a disk is started twice, and says each time whether all is well.

Into the copy goes one unit more, which says what the system thinks of itself and turns the machine
off. Nothing that firmware, boot program or initial RAM disk read is changed.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from provision.core import emulator
from provision.core.exitcodes import ExitCode
from provision.core.problems import fail
from provision.image import qemu
from provision.image.layout import ESP_TYPE, ROOT_TYPES
from provision.image.opened import SECTOR, no_image, table_of
from provision.image.qemu import Outcome, Start
from provision.image.sandbox import Sandbox
from provision.image.stage_pack.disk import BOOT_PATHS
from provision.verdict.model import Finding, Severity, Status

ARCH = "x86_64"
_ROOT = ROOT_TYPES[ARCH]
_UNIT = "holdfast-boot-test.service"
_UNITS = "/etc/systemd/system"


@dataclass(frozen=True)
class Booted:
    """Both starts of one disk; `second` is None where the first one said nothing."""

    first: Start
    second: Start | None
    runs: str
    secure: bool


def disks_of(image: Path) -> list[Path]:
    """The disks to start: the file itself, or those in an image's folder.

    Raises:
        HoldfastError: there is none (exit code 2).
    """
    if image.is_file():
        return [image]
    found = sorted([*image.glob("raw/*.raw"), *image.glob("qcow2/*.qcow2")])
    if not found:
        hint = "name a raw or qcow2 disk, or a folder that `image build --out` filled"
        raise no_image(image, "holds no disk to start", hint)
    return found


def boot(
    disk: Path,
    *,
    keys: Path | None = None,
    wait_s: float = qemu.WAIT_S,
    keep: Path | None = None,
    says: Callable[[str], None] = lambda _: None,
) -> Booted:
    """Start a copy of a disk twice.

    Args:
        disk: a raw or qcow2 disk; it is only read.
        keys: the keys that firmware knows; None leaves Secure Boot off.
        wait_s: how long each start may take, in seconds.
        keep: a folder for what came over the serial port.
        says: told what happens now.

    Raises:
        HoldfastError: it is no disk that firmware could start (exit code 2), or a tool is missing.
    """
    if os.uname().machine != ARCH:
        raise fail("wrong-arch", f"only {ARCH} images are started, on machines of that kind",
                   exit_code=ExitCode.NOT_DONE)  # fmt: skip
    _kind(disk)
    # Not in /tmp, which may be memory: a disk has gigabytes.
    place = os.environ.get("TMPDIR", "/var/tmp")
    with tempfile.TemporaryDirectory(prefix="holdfast-boot-", dir=place) as name:
        folder = Path(name)
        sandbox = Sandbox(writable=(folder,))
        copy, nonce = folder / "disk.raw", secrets.token_hex(8)
        firmware = qemu.firmware(folder, keys)
        _copy(disk, copy, sandbox)
        parts = _parts(copy, sandbox, disk)
        program = _program(copy, parts[ESP_TYPE], sandbox, folder)
        runs = emulator.accelerator(qemu.kernel_of(program, sandbox, folder))
        _add_unit(copy, parts[_ROOT], sandbox, unit(nonce))
        machine = qemu.Machine(copy, firmware, runs)
        serial = keep or folder
        serial.mkdir(parents=True, exist_ok=True)

        def once(which: str) -> Start:
            says(f"{disk.name}: {which} start, {runs.says}")
            file = serial.resolve() / f"{disk.name}.{which}.serial"
            return qemu.start(machine, file, nonce, wait_s)

        first = once("first")
        second = once("second") if first.outcome is Outcome.ANSWERED else None
        if second is not None and second.said.get("boot") == first.said.get("boot"):
            second = replace(second, outcome=Outcome.SILENT, line="the first start's line again")
    return Booted(first, second, runs.says, keys is not None)


def unit(nonce: str) -> str:
    """The unit that says what the system thinks of itself, and turns the machine off."""
    secure = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
    values = '"$state" "$failed" "$secure" "$(uname -r)" "$boot"'
    form = (
        f'{{"nonce":"{nonce}","state":"%s","failed":[%s],"secure_boot":"%s","kernel":"%s",'
        '"boot":"%s"}'
    )
    failed = (
        "systemctl list-units --failed --plain --no-legend --full |"
        r""" sed 's/ .*//; s/\\/\\\\/g; s/.*/"&"/' | paste -s -d, -"""
    )
    lines = (
        # It waits until every start job of this start is done.
        "state=$(systemctl is-system-running --wait)",
        f"failed=$({failed})",
        f"secure=$(od -An -t u1 -j 4 -N 1 {secure} 2>/dev/null | tr -d ' ')",
        "boot=$(cat /proc/sys/kernel/random/boot_id)",
        f"line='{qemu.MARK}'$(printf '{form}' {values})",
        # The kernel writes to the same port, and may write into a line.
        "for at in /dev/ttyS0 /dev/console /dev/ttyS0",
        "do printf '\\n%s\\n' \"$line\" >$at",
        "sleep 1",
        "done",
        "systemctl --no-block poweroff",
    )
    script = "; ".join(lines)
    quoted = script.replace("\\", "\\\\").replace('"', '\\"')
    quoted = quoted.replace("%", "%%").replace("$", "$$")
    return (
        "[Unit]\n"
        "Description=Says whether the image has started\n"
        # The target waits for what it wants unless that has no default dependencies.
        "DefaultDependencies=no\n"
        "After=multi-user.target\n"
        "[Service]\n"
        "Type=simple\n"
        f'ExecStart=/bin/sh -c "{quoted}"\n'
    )


def _kind(disk: Path) -> str:
    """The format of a disk, told by its first bytes and never by its name."""
    try:
        with disk.open("rb") as stream:
            head = stream.read(SECTOR * 2)
    except OSError as error:
        raise no_image(disk, f"cannot be read: {error.strerror}") from None
    if head.startswith(b"QFI\xfb"):
        return "qcow2"
    if head[SECTOR : SECTOR + 8] == b"EFI PART":
        return "raw"
    raise no_image(disk, "is no disk that firmware could start",
                   "a raw or qcow2 disk with a GPT")  # fmt: skip


def _copy(disk: Path, copy: Path, sandbox: Sandbox) -> None:
    sandbox.run(["qemu-img", "convert", "-f", _kind(disk), "-O", "raw", disk.resolve(), copy])


def _parts(copy: Path, sandbox: Sandbox, disk: Path) -> dict[str, int]:
    """Where the partition that firmware reads and the root begin, in bytes."""
    found = {kind: start for kind, start, _ in table_of(copy, sandbox)}
    if ESP_TYPE not in found or _ROOT not in found:
        message = "has no partition for firmware, or none for a root of this architecture"
        raise no_image(disk, message)
    return {kind: found[kind] for kind in (ESP_TYPE, _ROOT)}


def _program(copy: Path, esp: int, sandbox: Sandbox, folder: Path) -> Path:
    target = folder / "boot.efi"
    sandbox.run(["mcopy", "-n", "-i", f"{copy}@@{esp}", f"::/{BOOT_PATHS[ARCH]}", target])
    return target


def _add_unit(copy: Path, root: int, sandbox: Sandbox, text: str) -> None:
    """Write the unit into the root file system, and look whether it is there."""
    source = copy.with_name(_UNIT)
    source.write_text(text, encoding="ascii")
    place, link = f"{_UNITS}/{_UNIT}", f"{_UNITS}/multi-user.target.wants/{_UNIT}"
    label = "system_u:object_r:systemd_unit_file_t:s0"
    # A folder that is there already is no error to debugfs.
    commands = (
        f"mkdir {_UNITS}/multi-user.target.wants", f"cd {_UNITS}", f'write "{source}" {_UNIT}',
        f"set_inode_field {_UNIT} mode 0100644", f"set_inode_field {_UNIT} uid 0",
        f"set_inode_field {_UNIT} gid 0", f'ea_set {_UNIT} security.selinux "{label}"',
        f"symlink {link} {place}",
    )  # fmt: skip
    at = f"{copy}?offset={root}"
    sandbox.run(["debugfs", "-w", "-f", "-", at], stdin="".join(f"{one}\n" for one in commands))
    said = sandbox.run(["debugfs", "-f", "-", at], stdin=f"cat {place}\nstat {link}\n")
    if text not in said or "Type: symlink" not in said:
        raise fail("tool-failed", "debugfs did not add the unit that speaks for the system",
                   where=str(copy))  # fmt: skip


def findings(name: str, booted: Booted) -> tuple[Finding, ...]:
    """What both starts come to."""
    found = [*_of(name, "first", booted.first)]
    if booted.secure:
        found.insert(0, _secure(name, booted.first))
    if booted.second is None:
        why = "not tried, because of how the first one ended"
        found += [
            _finding(name, check, title, Status.UNKNOWN, why)
            for check, title in (("boot.second", _STARTS), ("boot.second_units", _WELL))
        ]
    else:
        found += _of(name, "second", booted.second)
    return tuple(found)


_STARTS = "It starts, says so itself, and turns the machine off"
_WELL = "No unit failed"


def _of(name: str, which: str, one: Start) -> list[Finding]:
    words = {
        Outcome.ANSWERED: f"in {one.seconds:.0f} s",
        Outcome.STAYED: "it said so, and did not turn the machine off",
        Outcome.REFUSED: one.line,
        Outcome.ENDED: f"the machine ended; its last word: {one.line}",
        Outcome.SILENT: f"nothing was said in {one.seconds:.0f} s; last: {one.line}",
    }
    status = {Outcome.ANSWERED: Status.PASS, Outcome.SILENT: Status.UNKNOWN}
    starts = _finding(name, f"boot.{which}", _STARTS, status.get(one.outcome, Status.FAIL),
                      words[one.outcome])  # fmt: skip
    starts = replace(starts, seconds=one.seconds)
    check = f"boot.{which}_units"
    if not one.said:
        return [starts, _finding(name, check, _WELL, Status.UNKNOWN, "the system said nothing")]
    failed, state = one.said.get("failed"), one.said.get("state")
    well = state == "running" and failed == []
    seen = f"{state}" + (f": {', '.join(map(str, failed))}" if failed else "")
    units = _finding(name, check, _WELL, Status.PASS if well else Status.FAIL, seen)
    return [starts, units]


def _secure(name: str, first: Start) -> Finding:
    title = "Firmware that knows the site's keys alone starts it"
    if first.outcome is Outcome.REFUSED:
        status, seen = Status.FAIL, first.line
    elif not first.said:
        status, seen = Status.UNKNOWN, "the system said nothing"
    else:
        on = first.said.get("secure_boot") == "1"
        status = Status.PASS if on else Status.FAIL
        seen = "the system sees Secure Boot on" if on else "the system sees Secure Boot off"
    return _finding(name, "boot.secure", title, status, seen)


def _finding(name: str, check: str, title: str, status: Status, seen: str) -> Finding:
    return Finding(name, check, title, status, seen=seen, severity=Severity.HIGH)
