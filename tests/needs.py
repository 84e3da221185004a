"""What a test may need of a machine beyond what `scripts/setup` brings.

A test says so with `@pytest.mark.needs("root")`, and is skipped where that is not met. Any other
skip is a failure, so that no test is left out unseen on a machine that set-up prepared. This file
is the plugin of pytest that sees to both; `pyproject.toml` names it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from provision.cli.doctor import distribution_family


@dataclass(frozen=True)
class Need:
    """Whether a machine has it, why it takes that, and what shows the same elsewhere."""

    met: Callable[[], bool]
    why: str
    elsewhere: str

    @property
    def says(self) -> str:
        """The reason of a skip."""
        return f"{self.why}; {self.elsewhere}"


def _fuse() -> bool:
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR))
    except OSError:
        return False
    return Path("/dev/fuse").is_char_device()


def _python39() -> bool:
    # A version manager's name on PATH may start nothing; running it is the only proof.
    if shutil.which("python3.9") is None:
        return False
    return subprocess.run(["python3.9", "-c", ""], capture_output=True, check=False).returncode == 0


def _user_namespaces() -> bool:
    from provision.core.problems import HoldfastError
    from provision.image.sandbox import Sandbox

    try:
        Sandbox().run(["true"])
    except (HoldfastError, OSError):
        return False
    return True


def _ovmf() -> bool:
    from provision.image.qemu import found_firmware

    return found_firmware() is not None


NEEDS = {
    "ovmf": Need(
        # No command says whether it is there, and only `image boot` and its tests want it.
        _ovmf,
        "there is no UEFI for virtual machines here",
        "where ovmf (Debian) or edk2-ovmf (EL) is installed, `make unit` shows it",
    ),
    "user_namespaces": Need(
        # Set-up brings the tools; a kernel or a container may forbid it, and an ordinary user
        # without numbers of their own has nobody to be.
        _user_namespaces,
        "this kernel, container or user may make no user namespace with owners",
        "where it may, `make unit` shows it; without it no image is built, and doctor says why",
    ),
    "root": Need(
        lambda: os.geteuid() == 0,
        "only root makes devices and what belongs to others",
        "the journeys need root as well, so `make test` as a whole runs as root",
    ),
    "fuse": Need(
        _fuse,
        "only a file system of our own can hang a process for good, and there is no /dev/fuse",
        "that what hangs is given up after its deadline is shown beside it, by what can be killed",
    ),
    "python3.9": Need(
        _python39,
        "there is no Python 3.9, which is EL 9's",
        "the same file runs here by this Python, and ruff judges its syntax by 3.9",
    ),
    "dnsmasq": Need(
        # Nothing of ours runs it: it is what a site serves with, and reads what we render.
        lambda: shutil.which("dnsmasq") is not None,
        "there is no dnsmasq here",
        "what is rendered is compared line by line beside it, and a soak test starts a node by it",
    ),
    "faketime": Need(
        lambda: distribution_family() == "debian" or shutil.which("faketime") is not None,
        "EL's own repositories have no faketime",
        "the same is shown with times of files from another day, in test_image_seal.py",
    ),
    "slurm": Need(
        # On Debian set-up brings it: there it may not be missing.
        lambda: distribution_family() == "debian" or shutil.which("slurmctld") is not None,
        "neither EL nor its set-up has a Slurm",
        "tests/unit/test_slurm_rules.py shows every rule without one, and Debian shows the rest",
    ),
}


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark what needs something that this machine has not as skipped."""
    for mark in list(item.iter_markers("needs")):
        for name in mark.args:
            need = NEEDS.get(name)
            if need is None or not need.met():
                # A need that nobody knows accounts for nothing, so that the test fails.
                reason = need.says if need else f"there is no need {name!r}"
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, Any, Any]:
    """A test that is skipped for another reason has failed."""
    return _accounted((yield))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, Any, Any]:
    """A file that is skipped as a whole has failed too."""
    return _accounted((yield))


def _accounted(report: Any) -> Any:
    if not report.skipped or hasattr(report, "wasxfail"):
        return report
    file, line, said = report.longrepr
    reason = said.removeprefix("Skipped: ")
    if reason not in {need.says for need in NEEDS.values() if not need.met()}:
        report.outcome = "failed"
        report.longrepr = f"{file}:{line}: skipped without a need of tests/needs.py: {reason}"
    return report
