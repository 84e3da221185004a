"""As a security officer I plant twenty secrets that nobody could mistake, wherever secrets lie
around when a rack is brought up. Then I look for them everywhere: in command lines while it runs,
in journals, events, logs, reports, and in every file of the node. Each is where it belongs and
nowhere else.
"""

from __future__ import annotations

import base64
import os
import re
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.rehearsal.conftest import SimulatedRack

pytestmark = [pytest.mark.rehearsal, pytest.mark.together("bare")]

PRIVATE = ("login", "n1.key", "ca.key")
"""Files that hold a key: a piece from the middle of each is looked for."""

TOKENS = ("AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "HF_TOKEN", "OPENAI_API_KEY")
"""What an administrator's shell may hold and no run needs."""

BECOME = "ansible_become_password"

ON_THE_NODE = {
    "a password in a repository's file": "/etc/yum.repos.d/other.repo",
    "chrony's keys": "/etc/chrony.keys",
    "a registry's login": "/root/.config/containers/auth.json",
    "a login in .netrc": "/root/.netrc",
    "a comment in a file that is written anew": "/etc/containers/registries.conf",
    "the node's own host key": "/etc/ssh/ssh_host_ed25519_key",
}
"""Secrets that a node had before, and the file that holds each. No run has to read their values."""

WRITTEN_ANEW = "a comment in a file that is written anew"

STORED = ("/var/lib/containers/storage/secrets/", "/run/secrets/")
"""Where podman keeps its secrets, and where it shows them to the one container that needs them."""


@dataclass
class Canaries:
    """Secrets by what they are. `environment` is what the run's own process gets."""

    found: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)

    def new(self, name: str) -> str:
        """A fresh one."""
        self.found[name] = f"canary{secrets.token_hex(12)}"
        return self.found[name]

    def within(self, data: bytes) -> list[str]:
        """The names of those that `data` holds, as they are or in base64."""
        return [name for name, forms in self.forms.items() if any(f in data for f in forms)]

    @property
    def forms(self) -> dict[str, tuple[bytes, ...]]:
        """What to look for, by name: the text itself, and what base64 makes of its middle."""
        shifted = {
            name: [base64.b64encode(text.encode()[shift:])[:16] for shift in (0, 1, 2)]
            for name, text in self.found.items()
        }
        return {name: (self.found[name].encode(), *shifted[name]) for name in self.found}


LINE_BYTES = 1 << 21
"""More than the arguments of a process may have together here (an eighth of its 8 MiB stack)."""


class Sampler(threading.Thread):
    """Reads every process's command line, and the environment of every process on a node."""

    def __init__(self, canaries: Canaries) -> None:
        super().__init__(daemon=True)
        self.canaries = canaries
        self.seen: set[str] = set()
        self.rounds = 0
        self.nodes = 0
        self._own = Path("/proc/self/ns/pid").readlink()
        self._ended = threading.Event()

    def run(self) -> None:
        known: dict[str, bytes] = {}
        while not self._ended.is_set():
            now = {}
            for process in (entry.name for entry in os.scandir("/proc") if entry.name.isdigit()):
                now[process] = line = self._line(process)
                # An environment is that of the command line, so it is read with a new one.
                if known.get(process) != line:
                    self._judge(process, line, self._environment(Path("/proc", process)))
            known = now
            self.rounds += 1
            time.sleep(0.02)

    def end(self) -> None:
        """Stop reading."""
        self._ended.set()
        self.join()

    def _line(self, process: str) -> bytes:
        # Read for every process in every round: without the layers of a Path the rounds are closer.
        try:
            file = os.open(f"/proc/{process}/cmdline", os.O_RDONLY)
        except OSError:
            return b""
        try:
            return os.read(file, LINE_BYTES)
        except OSError:
            return b""
        finally:
            os.close(file)

    def _environment(self, folder: Path) -> bytes:
        try:
            inside = Path(folder, "ns/pid").readlink() != self._own
            return Path(folder, "environ").read_bytes() if inside else b""
        except OSError:
            return b""

    def _judge(self, process: str, line: bytes, environment: bytes) -> None:
        self.nodes += bool(environment)
        for name in self.canaries.within(line):
            self.seen.add(f"{name}: command line of {process}: {line[:80]!r}")
        for name in self.canaries.within(environment):
            self.seen.add(f"{name}: environment of {process}: {line[:80]!r}")


def test_every_secret_stays_where_it_belongs(
    fresh_rack: Callable[[int], SimulatedRack], tmp_path: Path
) -> None:
    rack = fresh_rack(1)
    canaries = planted(rack, tmp_path)
    assert len(canaries.found) == len(set(canaries.found.values())) == 20

    sampler = Sampler(canaries)
    sampler.start()
    done = subprocess.run(
        rack.command("up", rack.inventory, "--events", tmp_path / "events.jsonl"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env={**rack.environment, **canaries.environment},
        timeout=600,
        check=False,
    )
    sampler.end()
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
    print(f"{sampler.rounds} rounds of reading, {sampler.nodes} processes on the node")
    assert sampler.rounds > 100
    assert sampler.nodes > 50
    assert sampler.seen == set()

    run = rack.runs()[-1]
    assert run.joinpath("report.html").is_file()
    (tmp_path / "shown").write_bytes(done.stdout + done.stderr)
    assert in_files(canaries, run) == {}
    assert in_files(canaries, tmp_path, skip=("vault",)) == {}
    assert canaries.within(journal(rack)) == []
    left = misplaced(canaries, rack)
    assert left == {}, left
    # What is not there at all would make a search for it pass for the wrong reason.
    places = on_the_node(canaries, rack)
    assert {"the API key", "the TLS key", *ON_THE_NODE} - {WRITTEN_ANEW} == set(places)

    check_that_a_leak_is_found(canaries, rack, run)


def check_that_a_leak_is_found(canaries: Canaries, rack: SimulatedRack, run: Path) -> None:
    """The same search, on a rack that leaks a secret in every way."""
    key = canaries.found["the API key"]
    sampler = Sampler(canaries)
    sampler.start()
    rack.ssh(
        "n1",
        f"logger 'the key is {key}'; echo {key} >/etc/motd; echo {key} >/run/leak\n"
        f"bash -c 'sleep 1; : {key}'; KEY={key} sleep 1",
    )
    sampler.end()
    assert {seen.split(": ")[1].split(" of")[0] for seen in sampler.seen} == {
        "command line",
        "environment",
    }
    assert canaries.within(journal(rack)) == ["the API key"]
    assert {"/etc/motd", "/run/leak"} <= set(misplaced(canaries, rack)["the API key"])
    (run / "leak").write_bytes(base64.b64encode(b"key=" + key.encode()))
    assert in_files(canaries, run) == {"the API key": [str(run / "leak")]}


def planted(rack: SimulatedRack, folder: Path) -> Canaries:
    """Secrets of every kind that a run meets, in places where secrets are."""
    canaries = Canaries()
    own = rack.rehearsal.folder / "secrets"
    for name, file in zip(("the login key", "the TLS key", "the authority's key"), PRIVATE,
                          strict=True):  # fmt: skip
        canaries.found[name] = middle(own / file)
    canaries.environment["HOLDFAST_CANARY_KEY"] = canaries.new("the API key")
    for name in TOKENS:
        canaries.environment[name] = canaries.new(f"{name} of the shell")
    (own / "unused").write_text(canaries.new("a secret that nothing refers to"))
    (own / "unused").chmod(0o600)
    _vault(canaries, rack, own, folder)
    _inventory(canaries, rack)
    _on_node(canaries, rack)
    return canaries


def middle(file: Path) -> str:
    """A piece of a private key that is in none of its public halves: its last whole lines."""
    body = [line for line in file.read_text().splitlines() if not line.startswith("---")]
    # An OpenSSH key ends in its private half, a PEM key of an elliptic curve begins with it.
    return body[-2][:40] if "OPENSSH" in file.read_text() else body[0][40:]


def _vault(canaries: Canaries, rack: SimulatedRack, own: Path, folder: Path) -> None:
    password = folder / "vault" / "password"
    password.parent.mkdir()
    password.write_text(canaries.new("the vault's password"))
    password.chmod(0o600)
    key = (own / "n1.key").read_text()
    rows = ["tls_key: |", *(f"  {line}" for line in key.splitlines())]
    rows += [
        f"{name}: {canaries.new(f'{name} in the vault')}" for name in ("database", "backup", "smtp")
    ]
    vault = own / "vault.yml"
    vault.write_text("\n".join(rows) + "\n")
    canaries.environment["ANSIBLE_VAULT_PASSWORD_FILE"] = os.fspath(password)
    _encrypt(canaries, "", "encrypt", os.fspath(vault))
    (own / "n1.key").unlink()


def _encrypt(canaries: Canaries, text: str, *words: str) -> str:
    """Run ansible-vault; returns what it writes."""
    return subprocess.run(
        [Path(sys.executable).parent / "ansible-vault", *words],
        check=True,
        capture_output=True,
        input=text,
        text=True,
        env={**os.environ, **canaries.environment, "LC_ALL": "C.UTF-8"},
    ).stdout


def _inventory(canaries: Canaries, rack: SimulatedRack) -> None:
    text = rack.inventory.read_text()
    text = text.replace("file:secrets/api-key", "env:HOLDFAST_CANARY_KEY")
    text = text.replace("file:secrets/n1.key", "vault:secrets/vault.yml#tls_key")
    password = canaries.new("the password for sudo")
    block = _encrypt(
        canaries, password, "encrypt_string", "--stdin-name", "ansible_become_password"
    )
    user = "    ansible_user:"
    text = text.replace(user, "".join(f"    {line}\n" for line in block.splitlines()) + user)
    rack.inventory.write_text(text)
    (rack.rehearsal.folder / "secrets/api-key").unlink()


def _on_node(canaries: Canaries, rack: SimulatedRack) -> None:
    lines = {
        "a password in a repository's file": "[other]\nname=o\nenabled=1\npassword={}\n"
        "baseurl=http://192.0.2.9/o\n",
        "chrony's keys": "1 SHA256 {}\n",
        "a registry's login": '{{"auths": {{"example.com": {{"auth": "{}"}}}}}}\n',
        "a login in .netrc": "machine example.com login me password {}\n",
        WRITTEN_ANEW: "# {}\n",
    }
    script = ""
    for name, line in lines.items():
        path = ON_THE_NODE[name]
        text = line.format(canaries.new(name))
        script += (
            f"mkdir -p {Path(path).parent}\ncat >{path} <<'EOF'\n{text}EOF\nchmod 0600 {path}\n"
        )
    rack.ssh("n1", script)
    upper = rack.node("n1").folder / "upper"
    canaries.found["the node's own host key"] = middle(
        upper / ON_THE_NODE["the node's own host key"].lstrip("/")
    )


def in_files(canaries: Canaries, folder: Path, skip: tuple[str, ...] = ()) -> dict[str, list[str]]:
    """The files below a folder that hold a canary, by its name."""
    found: dict[str, list[str]] = {}
    for path, data in _contents(folder, skip):
        for name in canaries.within(data):
            found.setdefault(name, []).append(os.fspath(path))
    return found


def _contents(folder: Path, skip: tuple[str, ...] = ()) -> Iterator[tuple[Path, bytes]]:
    for where, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in skip]
        for name in files:
            path = Path(where, name)
            if path.is_file() and not path.is_symlink():
                try:
                    yield path, path.read_bytes()
                except OSError:
                    continue


def on_the_node(canaries: Canaries, rack: SimulatedRack) -> dict[str, list[str]]:
    """The paths on the node that hold a canary, by its name: disks, and what is in memory."""
    node = rack.node("n1")
    trees = {
        node.folder / "upper": "",
        node.folder / "containers": "/var/lib/containers",
    }
    inside = Path("/proc", str(_first_process(rack)), "root")
    trees |= {inside / name: f"/{name}" for name in ("run", "tmp", "dev/shm")}
    found: dict[str, list[str]] = {}
    for tree, prefix in trees.items():
        for name, paths in in_files(canaries, tree, skip=("overlay-containers",)).items():
            own = [prefix + path.removeprefix(os.fspath(tree)) for path in paths]
            found.setdefault(name, []).extend(own)
    return found


def misplaced(canaries: Canaries, rack: SimulatedRack) -> dict[str, list[str]]:
    """What `on_the_node` finds outside the place where it belongs."""
    found = {
        name: [path for path in paths if not _belongs(name, path)]
        for name, paths in on_the_node(canaries, rack).items()
    }
    return {name: paths for name, paths in found.items() if paths}


def _belongs(name: str, path: str) -> bool:
    if name in ("the API key", "the TLS key"):
        return any(place in path for place in STORED)
    return path == ON_THE_NODE.get(name)


def _first_process(rack: SimulatedRack) -> int:
    """The node's init, as the host numbers it."""
    wanted = rack.ssh("n1", "readlink /proc/1/ns/pid").out.strip()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if os.fspath((entry / "ns/pid").readlink()) != wanted:
                continue
            status = (entry / "status").read_text()
        except OSError:
            continue
        if re.search(r"^NSpid:\t\d+.*\t1$", status, re.MULTILINE):
            return int(entry.name)
    raise AssertionError("the node has no first process")


def journal(rack: SimulatedRack) -> bytes:
    """All fields of all entries in the node's journal, without what is not text in them."""
    printable = r"LC_ALL=C tr --complement --delete '\n -~'"
    script = f"journalctl --all --no-pager --output=export | {printable}"
    return rack.ssh("n1", script).out.encode()
