"""scripts/setup: asks for what is missing and nothing else, with fake package managers."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("scripts/setup", "requirements.lock", "pyproject.toml", "provision/cli/system_needs.tsv")

FAKE_MANAGER = """\
#!/bin/sh
echo "$(basename "$0") $*" >> {log}
case "$*" in *" install "*) {brings} ;; esac
"""


class Checkout:
    """A checkout whose set-up is done, on a machine whose package managers only write a log."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        self.log = folder / "managers.log"
        self.bin.mkdir()
        for name in COPIED:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
        python = folder / ".venv/bin/python"
        python.parent.mkdir(parents=True)
        python.symlink_to(sys.executable)
        self.stamp()
        self.release("debian")
        self.manager("true")

    def stamp(self) -> None:
        """Say that .venv is what the lock asks for, as set-up itself says it."""
        sums = "".join(
            f"{hashlib.sha256((self.folder / name).read_bytes()).hexdigest()}  {name}\n"
            for name in ("requirements.lock", "pyproject.toml")
        )
        venv = self.folder / ".venv"
        (venv / ".holdfast-setup").write_text(sums)
        (venv / ".holdfast-place").write_text(f"{venv}\n")

    def release(self, name: str, like: str = "") -> None:
        (self.folder / "os-release").write_text(f'ID="{name}"\nID_LIKE="{like}"\n')

    def manager(self, brings: str) -> None:
        """Fake apt-get and dnf whose `install` runs the shell words `brings`."""
        for name in ("apt-get", "dnf"):
            self.command(name, FAKE_MANAGER.format(log=self.log, brings=brings))

    def command(self, name: str, text: str = "#!/bin/sh\n") -> None:
        path = self.bin / name
        path.write_text(text)
        path.chmod(0o755)

    def need(self, command: str) -> None:
        """Add a command that this machine lacks to what a controller needs."""
        with (self.folder / "provision/cli/system_needs.tsv").open("a") as table:
            table.write(f"{command}\talways\tthe-deb\tthe-rpm\tfor this test\n")

    def setup(self) -> subprocess.CompletedProcess[str]:
        for line in (ROOT / "provision/cli/system_needs.tsv").read_text().splitlines():
            name = line.split("\t")[0]
            # The package manager of one distribution is a tool that another's images need.
            if not line.startswith("#") and not (self.bin / name).exists():
                self.command(name)
        # `make test VENV=… PYTHON=…` hands these down, and they are not this checkout's.
        own = {k: v for k, v in os.environ.items() if k not in ("VENV", "PYTHON")}
        environment = {
            **own,
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "OS_RELEASE": str(self.folder / "os-release"),
        }
        return subprocess.run(
            [str(self.folder / "scripts/setup")],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def calls(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []


@pytest.fixture
def checkout(tmp_path):
    made = Checkout(tmp_path)
    made.command("id", "#!/bin/sh\necho 0\n")
    return made


def test_second_run_does_nothing_and_says_nothing(checkout):
    done = checkout.setup()
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert checkout.calls() == []


def test_missing_command_brings_its_package_and_waits_for_apt(checkout):
    checkout.need("no-such-command")
    checkout.manager(
        f"touch {checkout.bin}/no-such-command; chmod +x {checkout.bin}/no-such-command"
    )
    done = checkout.setup()
    assert done.returncode == 0, done.stderr
    *_, last = checkout.calls()
    assert last.endswith("install -y --no-install-recommends the-deb")
    assert "DPkg::Lock::Timeout=" in last


def test_el_uses_dnf_and_its_own_names(checkout):
    checkout.release("rocky", "rhel centos fedora")
    checkout.need("no-such-command")
    checkout.manager(
        f"touch {checkout.bin}/no-such-command; chmod +x {checkout.bin}/no-such-command"
    )
    done = checkout.setup()
    assert done.returncode == 0, done.stderr
    assert checkout.calls() == ["dnf -q -y install the-rpm"]


def test_package_that_does_not_bring_the_command(checkout):
    checkout.need("no-such-command")
    done = checkout.setup()
    assert done.returncode == 3
    assert "still missing after the installation: the-deb" in done.stderr


def test_without_root_it_says_what_to_install(checkout):
    checkout.command("id", "#!/bin/sh\necho 1000\n")
    checkout.need("no-such-command")
    done = checkout.setup()
    assert done.returncode == 3
    assert "missing: the-deb" in done.stderr
    assert checkout.calls() == []


def test_other_distributions_are_told_what_is_missing(checkout):
    checkout.release("arch")
    checkout.need("no-such-command")
    done = checkout.setup()
    assert done.returncode == 3
    assert "no-such-command" in done.stderr
