"""Starts a disk in a virtual machine with UEFI, and waits for what the system on it says of itself.

The machine has no network. Its serial port goes into a file. What counts is a line that the system
itself writes there; that a time has passed proves nothing.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from provision.core import emulator
from provision.core.emulator import Accelerator
from provision.core.exitcodes import ExitCode
from provision.core.problems import fail
from provision.image import secureboot
from provision.image.sandbox import Sandbox

MEMORY_MIB = 2048
WAIT_S = 900.0
"""How long one start may take; an emulated machine on a busy host takes minutes."""

_FIRMWARE = (
    ("/usr/share/OVMF/OVMF_CODE_4M.secboot.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("/usr/share/edk2/ovmf/OVMF_CODE.secboot.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
)
"""Code that knows Secure Boot, and variables without a key: where Debian and EL have them."""
_LOOK_S = 0.2
_REFUSED = re.compile(r"BdsDxe: failed to (?:load|start) .*: (?:Access Denied|Security Violation)")
_CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Outcome(StrEnum):
    """How one start ended."""

    ANSWERED = "answered"
    """The system said that it is there, and turned the machine off."""
    STAYED = "stayed"
    """It said so, and did not turn the machine off in time."""
    REFUSED = "refused"
    """Firmware did not start it, and said why."""
    ENDED = "ended"
    """The machine ended before the system said anything: a panic, or a reset."""
    SILENT = "silent"
    """Nothing was said in time."""


@dataclass(frozen=True)
class Firmware:
    """UEFI for a machine: its code, and the file in which it keeps its variables."""

    code: Path
    variables: Path


@dataclass(frozen=True)
class Machine:
    """A raw disk, the firmware that starts it, and what runs both."""

    disk: Path
    firmware: Firmware
    runs: Accelerator


@dataclass(frozen=True)
class Start:
    """One start. `said` is the system's own report, `line` the evidence for people."""

    outcome: Outcome
    seconds: float
    line: str = ""
    said: Mapping[str, Any] = field(default_factory=dict)


def found_firmware() -> tuple[Path, Path] | None:
    """Code and empty variables of the UEFI that is installed here, or None."""
    pairs = ((Path(code), Path(variables)) for code, variables in _FIRMWARE)
    return next((pair for pair in pairs if all(path.is_file() for path in pair)), None)


def firmware(folder: Path, keys: Path | None) -> Firmware:
    """Firmware with variables of its own in `folder`; with `keys` it starts only what they signed.

    Args:
        folder: where the variables go.
        keys: a folder as `provision.image.secureboot.make_keys` fills one.

    Raises:
        HoldfastError: there is no firmware or no virt-firmware here, or the folder lacks a
            certificate (exit code 2).
    """
    if keys is not None:
        _whole(keys)
    found = found_firmware()
    if found is None:
        raise fail("missing-tool", "there is no UEFI for virtual machines here",
                   hint="install ovmf (Debian) or edk2-ovmf (EL)")  # fmt: skip
    code, empty = found
    variables = folder / "variables.fd"
    if keys is None:
        variables.write_bytes(empty.read_bytes())
    else:
        _enrol(empty, keys, variables)
    return Firmware(code, variables)


def _whole(keys: Path) -> None:
    lacks = [name for name in (secureboot.GUID, *(f"{n}.crt" for n in secureboot.NAMES))
             if not (keys / name).is_file()]  # fmt: skip
    if lacks:
        raise fail("bad-key", f"there is no {lacks[0]}", where=str(keys),
                   hint="make keys with `holdfast image key DIR --secure-boot NAME`",
                   exit_code=ExitCode.USAGE)  # fmt: skip


def _enrol(empty: Path, keys: Path, target: Path) -> None:
    """Put a site's keys into the variables of a machine, and switch Secure Boot on."""
    owner = (keys / secureboot.GUID).read_text(encoding="ascii").strip()
    certificates = [keys.resolve() / f"{name}.crt" for name in secureboot.NAMES]
    argv: list[str | Path] = [sys.executable, "-P", "-m", "virt.firmware.vars",
                              "--input", empty, "--output", target]  # fmt: skip
    words = zip(("--set-pk", "--add-kek", "--add-db"), certificates, strict=True)
    for word, certificate in words:
        argv += [word, owner, certificate]
    done = subprocess.run([*argv, "--sb"], capture_output=True, text=True, check=False)
    if done.returncode or not target.is_file():
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        hint = "install what Holdfast's extra `images` names: virt-firmware"
        raise fail("tool-failed", f"virt-firmware did not enrol the keys: {last}", hint=hint)


def start(machine: Machine, serial: Path, nonce: str, wait_s: float) -> Start:
    """Start a machine and wait until its system said what it has to say.

    Args:
        machine: its disk and its firmware's variables are written to.
        serial: the file that its serial port goes to.
        nonce: what the system's line has to hold, so that it is of this run.
        wait_s: how long to wait, in seconds.

    Raises:
        HoldfastError: the emulator is missing, or did not start a machine.
    """
    serial.write_bytes(b"")
    begin = time.monotonic()
    argv = command(machine, serial)
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, text=True) as process:  # fmt: skip
        try:
            ended = _wait(process, serial, nonce, begin + wait_s)
        finally:
            process.kill()
        errors = process.stderr.read() if process.stderr else ""
    text = serial_text(serial)
    if ended and process.returncode and not text:
        last = (errors.strip().splitlines() or ["it said nothing"])[-1]
        raise fail("tool-failed", f"the emulator did not start a machine: {last}",
                   where=emulator.emulator())  # fmt: skip
    return judged(text, nonce, ended=ended, seconds=time.monotonic() - begin)


def command(machine: Machine, serial: Path) -> list[str]:
    """The emulator's command line."""
    flash = "if=pflash,format=raw"
    return [
        # However this process ends, the machine does not outlive it.
        "setpriv", "--pdeathsig", "KILL", emulator.emulator(), *machine.runs.words,
        "-machine", "smm=on", "-m", str(MEMORY_MIB),
        *emulator.QUIET, "-no-reboot", "-nic", "none",
        # Only firmware itself may change its variables; without this Secure Boot proves nothing.
        "-global", "driver=cfi.pflash01,property=secure,value=on",
        "-drive", f"{flash},readonly=on,file={_word(machine.firmware.code)}",
        "-drive", f"{flash},file={_word(machine.firmware.variables)}",
        # The copy is thrown away, so it need not reach the host's disk.
        "-drive", f"if=none,id=disk,format=raw,cache=unsafe,file={_word(machine.disk)}",
        "-device", "virtio-blk-pci,drive=disk,bootindex=0",
        "-device", "virtio-rng-pci",
        "-serial", f"file:{serial}",
    ]  # fmt: skip


def _word(path: Path) -> str:
    """A path as the emulator's options take it, which end at a comma."""
    return os.fspath(path).replace(",", ",,")


def _wait(process: subprocess.Popen[str], serial: Path, nonce: str, until: float) -> bool:
    """Wait for the end, for a refusal or for the deadline; whether the machine ended itself."""
    read = 0
    while process.poll() is None:
        # What is there is read anew only when there is more.
        size = serial.stat().st_size
        if size != read:
            read = size
            text = serial_text(serial)
            # What the system said counts, whatever another line looks like.
            if _REFUSED.search(text) and report(text, nonce) is None:
                return False
        if time.monotonic() > until:
            return False
        time.sleep(_LOOK_S)
    return True


def serial_text(serial: Path) -> str:
    """What came over the serial port, without what moves a terminal's cursor."""
    text = serial.read_bytes().decode(errors="replace").replace("\r", "\n")
    return _CODES.sub("", text).replace("\0", "").replace("\x1b", "")


def judged(text: str, nonce: str, *, ended: bool, seconds: float) -> Start:
    """What one start came to.

    Args:
        text: all that came over the serial port.
        nonce: of this run.
        ended: whether the machine ended by itself.
        seconds: how long it took.
    """
    said = report(text, nonce)
    if said is not None:
        outcome = Outcome.ANSWERED if ended else Outcome.STAYED
        return Start(outcome, seconds, json.dumps(said, sort_keys=True), said)
    refused = _REFUSED.search(text)
    if refused is not None:
        return Start(Outcome.REFUSED, seconds, refused[0])
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    panic = next((line for line in lines if "Kernel panic" in line), "")
    line = panic or (lines or ["nothing came over the serial port"])[-1]
    return Start(Outcome.ENDED if ended else Outcome.SILENT, seconds, line[:300])


MARK = "HOLDFAST-BOOT "
"""What the system's line begins with; the rest is one JSON object."""


def report(text: str, nonce: str) -> dict[str, Any] | None:
    """The system's own report of this run, or None where there is none that is whole."""
    for line in text.splitlines():
        _, mark, rest = line.partition(MARK)
        if not mark:
            continue
        try:
            found = json.loads(rest)
        except ValueError:
            # The kernel wrote into it; the system says it more than once.
            continue
        if isinstance(found, dict) and found.get("nonce") == nonce:
            return found
    return None


def kernel_of(program: Path, sandbox: Sandbox, scratch: Path) -> Path:
    """The kernel in a boot program, which is what KVM is tried with.

    Raises:
        HoldfastError: there is none in it.
    """
    kernel, rest = scratch / "vmlinuz", scratch / "rest"
    sandbox.run(["objcopy", "--dump-section", f".linux={kernel}", program, rest])
    return kernel
