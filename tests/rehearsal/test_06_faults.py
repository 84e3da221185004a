"""Faults: each gives one message that names node, cause and next step, and can be mended.

As an administrator I have done something wrong, or my data centre has. I read one message on my
terminal, do what it says, and go on where the run stopped. I am never shown a traceback, and
nothing is left half written.

The tests stand in the order of a run, on one rack. Those of preflight change nothing. Those of
applying are one run: it stops at each fault, is mended, and goes on with `--resume`.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from provision.core.events import read_events
from provision.rehearsal import repodata
from tests.rehearsal.conftest import Ran, SimulatedRack

pytestmark = [pytest.mark.rehearsal, pytest.mark.together("bare")]


def message_of(ran: Ran, code: int, *words: str) -> str:
    """The one message of a failed run; it holds every word and says what to do next."""
    assert ran.code == code, ran.said()
    assert "Traceback" not in ran.out + ran.err, ran.said()
    assert "internal error" not in ran.err, ran.said()
    messages = re.findall(r"(?ms)^error: .*?(?=^error: |\Z)", ran.err)
    assert len(messages) == 1, ran.said()
    message = messages[0]
    for word in words:
        assert word in message, f"{word!r} is not in:\n{ran.said()}"
    assert "hint: " in message, ran.said()
    # A person reads this on a terminal: it must not be a page.
    assert len(message) < 900, ran.said()
    return message


def assert_nothing_half_written(rack: SimulatedRack) -> None:
    """No file lies about that was being written when the run stopped."""
    left = [
        path
        for node in rack.nodes
        for top in ("etc", "srv", "usr/lib/systemd", "var/lib/holdfast", "run")
        for path in (node.folder / "upper" / top).rglob("*.holdfast")
    ]
    for run in rack.runs():
        left += [p for p in run.iterdir() if p.name.startswith(".")]
    assert not left
    assert not (rack.state / "holdfast/crash").exists()


def changed_nothing(rack: SimulatedRack) -> bool:
    """Whether no node was given as much as a repository."""
    return not any((n.folder / "upper/etc/yum.repos.d/holdfast.repo").exists() for n in rack.nodes)


def replaced(old: str, new: str) -> Callable[[str], str]:
    """An edit that must find what it replaces."""

    def change(text: str) -> str:
        assert old in text
        return text.replace(old, new)

    return change


@contextmanager
def served(rack: SimulatedRack, spoil: Callable[[Path], None]) -> Iterator[None]:
    """Serve a spoiled copy of the artefacts, and the right ones again afterwards."""
    right = rack.rehearsal.artefacts
    copy = rack.rehearsal.folder / "spoiled"
    shutil.copytree(right, copy, copy_function=os.link)
    try:
        spoil(copy)
        _serve(rack, copy)
        yield
    finally:
        _serve(rack, right)
        shutil.rmtree(copy)


def _serve(rack: SimulatedRack, folder: Path) -> None:
    rack.rehearsal.stop_origin()
    rack.rehearsal.artefacts = folder
    rack.rehearsal.start_origin()
    probe = "until exec 3<>/dev/tcp/192.0.2.1/8000; do sleep 0.1; done"
    subprocess.run(
        [*rack.rehearsal.inside(), "timeout", "10", "bash", "-c", probe],
        stderr=subprocess.DEVNULL, check=True,
    )  # fmt: skip


def signed_by_another_key(artefacts: Path) -> None:
    """Sign the repository's index with a key that nobody declared."""
    index = next(artefacts.glob("el10/*/repodata/repomd.xml"))
    index.with_suffix(".xml.asc").unlink()
    home = artefacts.parent / "stranger"
    home.mkdir(mode=0o700)
    with repodata.short_way(home) as way:
        repodata.make_key(way)
        subprocess.run([*repodata.gpg(way), "--armor", "--detach-sign", index], check=True)
    shutil.rmtree(home)


def without_chrony(artefacts: Path) -> None:
    """Take a package away that the repository's index still names."""
    for package in artefacts.glob("el10/*/chrony-*.rpm"):
        package.unlink()


def tampered_podman(artefacts: Path) -> None:
    """Change one byte of a package; its size and its name stay."""
    package = next(artefacts.glob("el10/*/podman-*.rpm"))
    body = bytearray(package.read_bytes())
    body[len(body) // 2] ^= 1
    package.unlink()
    package.write_bytes(body)


def other_model(artefacts: Path) -> None:
    """Another model of the same name and size."""
    model = artefacts / "models/tiny/tiny.gguf"
    body = bytearray(model.read_bytes())
    body[-1] ^= 1
    model.unlink()
    model.write_bytes(body)


EL8 = """\
NAME="Rocky Linux"
ID="rocky"
ID_LIKE="rhel centos fedora"
VERSION_ID="8.10"
PRETTY_NAME="Rocky Linux 8.10 (Green Obsidian)"
"""

# Preflight: nothing is changed before every node was looked at.


def test_wrong_inventory(story_rack: SimulatedRack) -> None:
    inventory = story_rack.edited("wrong.yml", replaced("llama_cpp", "llama_cp"))
    before = story_rack.runs()
    ran = story_rack.holdfast("up", inventory)
    message = message_of(
        ran, 2, "wrong.yml:", "no inference engine called 'llama_cp'", "did you mean 'llama_cpp'?"
    )
    assert "^" in message
    assert story_rack.runs() == before


def test_unreachable_node(story_rack: SimulatedRack) -> None:
    inventory = story_rack.edited("away.yml", replaced("192.0.2.12", "192.0.2.99"))
    ran = story_rack.holdfast("up", inventory)
    message_of(ran, 3, "n2: there is no route to the node", "192.0.2.99", "check that the node")
    assert changed_nothing(story_rack)


def test_wrong_host_key(story_rack: SimulatedRack) -> None:
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILFjLYkm1j5BmZQf5q1hQ3l7Yy2a3mJ1tYv5nEOfGxZz"
    own = story_rack.node("n2").host_key
    ran = story_rack.holdfast("up", story_rack.edited("key.yml", replaced(own, key)))
    message = message_of(ran, 3, "n2: the node shows another host key", "holdfast_host_keys")
    assert "@@@" not in message
    assert changed_nothing(story_rack)


def test_no_privilege(story_rack: SimulatedRack) -> None:
    rule = story_rack.node("n1").root / "etc/sudoers.d/rehearsal"
    away = rule.with_name("rehearsal.away")  # sudo passes over names with a dot
    rule.rename(away)
    try:
        ran = story_rack.holdfast("up", story_rack.inventory)
    finally:
        away.rename(rule)
    message_of(ran, 3, "n1: the user cannot become root", "without a password")
    assert changed_nothing(story_rack)


def test_unsupported_release(story_rack: SimulatedRack) -> None:
    about = story_rack.node("n1").root / "etc/os-release"
    before = about.read_text()
    about.write_text(EL8)
    try:
        ran = story_rack.holdfast("up", story_rack.inventory)
    finally:
        about.write_text(before)
    message_of(ran, 3, "n1: release: expected Enterprise Linux 9 or 10", "Rocky Linux 8.10",
               "install EL 9 or 10")  # fmt: skip
    assert changed_nothing(story_rack)


def test_full_disk(story_rack: SimulatedRack) -> None:
    story_rack.ssh("n2", "mkdir -p /srv/models; mount -t tmpfs -o size=4m small /srv/models")
    try:
        ran = story_rack.holdfast("up", story_rack.inventory)
    finally:
        story_rack.ssh("n2", "umount /srv/models; rmdir /srv/models")
    message_of(ran, 3, "n2: disk: expected at least", "/srv/models 4 MiB free", "df -h")
    assert changed_nothing(story_rack)


def test_port_in_use(story_rack: SimulatedRack) -> None:
    squat = "systemd-run --quiet --collect --unit=squat python3 -m http.server 8443"
    story_rack.ssh("n2", f"{squat}; until ss -ltn | grep -q :8443; do sleep 0.1; done")
    try:
        ran = story_rack.holdfast("up", story_rack.inventory)
    finally:
        story_rack.ssh("n2", "systemctl stop squat")
    message_of(ran, 3, "n2: ports: expected port 8443 is free", "python3", "ss -ltnp")
    assert changed_nothing(story_rack)
    assert_nothing_half_written(story_rack)


# Applying: one run, which every fault stops and `--resume` continues.


def test_wrong_signature(story_rack: SimulatedRack) -> None:
    with served(story_rack, signed_by_another_key):
        ran = story_rack.holdfast("up", story_rack.inventory)
    message = message_of(ran, 3, "n1: base: nothing was installed", "not signed by the key",
                         "holdfast-rehearsal", "--resume")  # fmt: skip
    assert "not touched yet: n2" in message
    assert_nothing_half_written(story_rack)


def test_package_missing_from_the_repository(story_rack: SimulatedRack) -> None:
    with served(story_rack, without_chrony):
        ran = story_rack.holdfast("up", story_rack.inventory, "--resume", "last")
    message_of(ran, 3, "n1: time: ", "chrony-0:4.6", "Cannot download", "--resume")
    assert_nothing_half_written(story_rack)


def test_tampered_package(story_rack: SimulatedRack) -> None:
    with served(story_rack, tampered_podman):
        ran = story_rack.holdfast("up", story_rack.inventory, "--resume", "last")
    message_of(ran, 3, "n1: container_runtime: ", "podman-0:5.4", "--resume")
    story_rack.ssh("n1", "! rpm -q podman")
    assert_nothing_half_written(story_rack)


def test_model_with_another_digest(story_rack: SimulatedRack) -> None:
    with served(story_rack, other_model):
        ran = story_rack.holdfast("up", story_rack.inventory, "--resume", "last")
    message_of(ran, 3, "n1: model_store: model tiny: ", "expected sha256", "got", "--resume")
    story_rack.ssh("n1", "! ls /srv/models/tiny/*")
    assert_nothing_half_written(story_rack)


def test_ctrl_c_while_applying(story_rack: SimulatedRack) -> None:
    journal = story_rack.runs()[-1] / "events.jsonl"
    seen = len(journal.read_bytes())
    child = story_rack.start("up", story_rack.inventory, "--resume", "last")
    deadline = time.monotonic() + 120
    while b'"phase":"inference"' not in journal.read_bytes()[seen:].replace(b": ", b":"):
        assert child.poll() is None, child.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    begin = time.monotonic()
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=90)
    ran = Ran([], child.returncode, out, err, time.monotonic() - begin)
    message_of(ran, 130, "interrupted", f"--resume {journal.parent.name}")
    # The node was given back, so that whoever comes next is not held up by a run that is over.
    assert not (story_rack.node("n1").root / "run/holdfast/lock.json").exists()
    story_rack.ssh("n1", "! test -e /run/holdfast/lock.json")
    assert_nothing_half_written(story_rack)


def test_the_run_goes_on_to_its_end(story_rack: SimulatedRack) -> None:
    # The other node has nothing to show that this one does not.
    ran = story_rack.holdfast("up", story_rack.inventory, "--resume", "last", "--limit", "n1")
    assert ran.code == 0, ran.said()
    run = story_rack.runs()[-1]
    ended = [e for e in read_events(run / "events.jsonl") if e.kind == "run.end"]
    assert [e.data["exit_code"] for e in ended] == [3, 3, 3, 3, 130, 0]
    assert_nothing_half_written(story_rack)
