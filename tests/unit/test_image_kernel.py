"""An image has one kernel, a RAM disk that its tree made, and one file for firmware."""

from __future__ import annotations

import os
import shlex
import struct
import subprocess
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest

from provision.core.problems import HoldfastError
from provision.image import parts, stage_kernel
from provision.image.filelist import Entry
from provision.image.layout import layout_of
from provision.image.sandbox import Sandbox
from provision.image.uki import find_stub, write_uki
from tests.unit.image_tree_support import definition, run_stage, stub

HOOKS = Path(stage_kernel.__file__).with_name("dracut") / "90holdfast"


def tree(folder: Path, *versions: str) -> Path:
    root = folder / "root"
    for version in versions:
        modules = root / "usr/lib/modules" / version
        modules.mkdir(parents=True)
        (modules / "modules.dep").touch()
        (modules / "vmlinuz").write_text("kernel")
    (root / "boot").mkdir(parents=True)
    return root


@pytest.mark.parametrize("versions", [(), ("6.1.0", "6.2.0")])
def test_an_image_has_one_kernel(versions, tmp_path):
    with pytest.raises(HoldfastError, match="has one kernel") as caught:
        stage_kernel.kernel_version(tree(tmp_path, *versions))
    assert all(version in str(caught.value) for version in versions)


def test_the_kernel_lies_where_either_family_puts_it(tmp_path):
    root = tree(tmp_path, "6.1.0")
    el = root / "usr/lib/modules/6.1.0/vmlinuz"
    assert stage_kernel.kernel_file(root, "6.1.0") == el
    el.rename(root / "boot/vmlinuz-6.1.0")
    assert stage_kernel.kernel_file(root, "6.1.0") == root / "boot/vmlinuz-6.1.0"
    (root / "boot/vmlinuz-6.1.0").unlink()
    with pytest.raises(HoldfastError, match="no vmlinuz"):
        stage_kernel.kernel_file(root, "6.1.0")


def test_a_tree_without_dracut_is_refused(tmp_path):
    tree(tmp_path / "seal", "6.1.0")
    with pytest.raises(HoldfastError, match="no dracut"):
        run_stage("kernel", tmp_path / "out", {"seal": tmp_path / "seal"}, definition())


def test_the_command_line_names_the_root_and_gives_nobody_a_shell():
    words = stage_kernel.disk_cmdline(definition()).split()
    assert f"root=UUID={layout_of(definition()).root.uuid}" in words
    assert {"rd.shell=0", "rd.emergency=reboot", "console=ttyS0"} <= set(words)


def test_one_file_is_the_same_each_time_and_keeps_each_part(tmp_path):
    program = stub(tmp_path)
    parts = {".cmdline": "root=here", ".initrd": "ram disk" * 999, ".linux": "kernel" * 999}
    sections = {}
    for name, text in parts.items():
        sections[name] = tmp_path / name
        sections[name].write_text(text)
    sandbox = Sandbox((tmp_path,))
    for name in ("one.efi", "two.efi"):
        write_uki(sandbox, program, sections, tmp_path / name)
    made = (tmp_path / "one.efi").read_bytes()
    assert made == (tmp_path / "two.efi").read_bytes()
    header = struct.unpack_from("<I", made, 0x3C)[0]
    assert made[header : header + 4] == b"PE\0\0"
    assert struct.unpack_from("<I", made, header + 8) == (0,)
    listed = subprocess.run(["objdump", "-h", tmp_path / "one.efi"], check=True, text=True,
                            capture_output=True).stdout  # fmt: skip
    rows = [line.split() for line in listed.splitlines() if line[:3].strip().isdigit()]
    spans = sorted((int(row[3], 16), int(row[3], 16) + int(row[2], 16)) for row in rows)
    assert len(spans) >= 3 + 1
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))


def test_the_image_s_own_stub_comes_first(tmp_path, monkeypatch):
    place = tmp_path / "usr/lib/systemd/boot/efi"
    place.mkdir(parents=True)
    (place / "linuxx64.efi.stub").touch()
    assert find_stub(tmp_path, "x86_64") == place / "linuxx64.efi.stub"
    monkeypatch.setattr("provision.image.uki.PLACE", "usr/lib/nowhere")
    with pytest.raises(HoldfastError, match="systemd-boot-unsigned"):
        find_stub(tmp_path, "x86_64")


@pytest.mark.parametrize("script", sorted(HOOKS.iterdir()), ids=lambda path: path.name)
def test_hooks_are_whole_shell(script):
    shell = "bash" if script.name == "module-setup.sh" else "sh"
    subprocess.run([shell, "-n", script], check=True)


PRELUDE = """
getarg() {{ for word in {arguments}; do
    case $word in "$1"*) echo "${{word#"$1"}}"; return 0 ;; esac; done; return 1; }}
getargbool() {{ return 1; }}
info() {{ echo "info: $1"; }}
die() {{ echo "die: $1"; }}
mount() {{ :; }}
curl() {{ while [ $# -gt 1 ]; do [ "$1" = --output ] && out=$2; shift; done
    echo "got $1"; echo bytes > "$out"; }}
losetup() {{ echo /dev/loop9; }}
veritysetup() {{ [ "$1" = open ] && echo opened; [ "$1" = {good} ] || [ "$1" = open ]; }}
"""


def fetched(tmp_path: Path, arguments: list[str], *, good: bool = True) -> tuple[int, str, bool]:
    """What the hook does with tools that only say what they were asked."""
    state = tmp_path / "state"
    state.mkdir()
    prelude = tmp_path / "lib.sh"
    words = " ".join(shlex.quote(word) for word in arguments)
    prelude.write_text(PRELUDE.format(arguments=words, good="verify" if good else "nothing"))
    text = (HOOKS / "fetch.sh").read_text().replace("/lib/dracut-lib.sh", str(prelude))
    text = text.replace("/run/holdfast", str(state))
    done = subprocess.run(["sh", "-c", text, "fetch", "eth0"], capture_output=True, text=True,
                          check=False)  # fmt: skip
    return done.returncode, done.stdout, (state / "proven").exists()


def test_a_root_is_proven_before_it_is_opened(tmp_path):
    words = ["holdfast.root=http://x/a/rootfs.erofs", "holdfast.image=a", "holdfast.roothash=00"]
    code, said, proven = fetched(tmp_path, words)
    assert (code, proven) == (0, True)
    assert "got http://x/a/rootfs.erofs" in said
    assert "got http://x/a/rootfs.verity" in said
    assert "opened" in said


@pytest.mark.parametrize(
    ("arguments", "good", "why"),
    [
        (["holdfast.root=http://x/r.erofs", "holdfast.roothash=00"], False, "not what was signed"),
        (["holdfast.root=http://x/r.erofs"], True, "no root hash"),
        (["holdfast.roothash=00"], True, "nobody says where"),
        (["holdfast.root=http://x/;reboot", "holdfast.roothash=00"], True, "no address"),
    ],
)
def test_what_is_not_proven_is_not_used(tmp_path, arguments, good, why):
    code, said, proven = fetched(tmp_path, arguments, good=good)
    assert code != 0
    assert not proven
    assert why in said
    assert "opened" not in said
    assert list((tmp_path / "state").glob("store/*")) == []


def entry(path: str, kind: str = "f", holds: str = "0") -> Entry:
    return Entry(path, kind, 0o644, 0, 0, 1, holds, "-")


AT_BOOT = {
    "/bin": ("l", True),
    "/etc": ("d", False),
    "/etc/passwd": ("f", True),
    "/etc/modprobe.d/usb.conf": ("f", True),
    "/etc/chrony.conf": ("f", False),
    "/etc/ssh/sshd_config.d/00-holdfast.conf": ("f", False),
    "/usr/bin/su": ("f", True),
    "/boot/vmlinuz": ("f", True),
    "/var/lib/rpm/rpmdb.sqlite": ("f", False),
    "/root/.bashrc": ("f", False),
}


def test_the_ram_disk_follows_from_its_part_of_the_tree_alone(tmp_path):
    root = tmp_path / "root"
    for path, (kind, _) in AT_BOOT.items():
        place = root / path[1:]
        if kind == "d":
            place.mkdir(parents=True, exist_ok=True)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch()
    entries = [entry(path, kind) for path, (kind, _) in AT_BOOT.items()]
    before = parts.digests(root, entries)
    for number, (path, (kind, counts)) in enumerate(AT_BOOT.items()):
        other = [*entries]
        other[number] = entry(path, kind, "1")
        assert (parts.digests(root, other) != before) is counts, path
        if counts:
            os.utime(root / path[1:], (7, 7))
            assert parts.digests(root, entries) != before, path
            before = parts.digests(root, entries)


def test_what_makes_the_ram_disk_sees_no_more_than_its_part(tmp_path):
    sealed = tree(tmp_path / "seal", "6.1.0")
    (sealed / "bin").symlink_to("usr/bin")
    there = ("etc/passwd", "etc/chrony.conf", "etc/ssh/sshd_config", "var/lib/x", "usr/bin/x")
    for name in there:
        (sealed / name).parent.mkdir(parents=True, exist_ok=True)
        (sealed / name).touch()
    seen = tmp_path / "seen"
    work = SimpleNamespace(sandbox=Sandbox((tmp_path,)))
    stage_kernel._seen(work, sealed, seen)
    found = {str(path.relative_to(seen)) for path in seen.rglob("*") if not path.is_dir()}
    assert found == {"bin", "etc/passwd"}
    assert (seen / "bin").readlink() == Path("usr/bin")
