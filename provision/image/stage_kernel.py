"""Stage kernel: the image's kernel, an initial RAM disk that knows how to find its root, and the
file that firmware starts from a disk.

Its output: ``vmlinuz``, ``initrd``, ``uki.efi`` (not signed), ``cmdline`` and ``kver`` (text).
"""

from __future__ import annotations

import shutil
from pathlib import Path

from provision.core.problems import fail
from provision.core.shapes import Model
from provision.image import parts
from provision.image.definition import Definition
from provision.image.layout import layout_of
from provision.image.sandbox import Bind
from provision.image.uki import find_stub, write_uki
from provision.image.work import Given, Work

VERSION = 1
NEEDS = ("seal",)
PARTS = {"seal": parts.BOOT}
READS = ("name", "release", "arch", "partitions", "kernel")
TOOLS = ("objcopy",)

_MODULES = Path(__file__).with_name("dracut")
SOURCES = tuple(sorted(path for path in _MODULES.rglob("*") if path.is_file()))
_DRACUT = "usr/lib/dracut/modules.d"
_ROOTS = "ext4 vfat erofs overlay"
_OMITTED = "nouveau nova_core"
_WHERE = "/run/holdfast-kernel"
_MOUNTED = ("dev", "proc", "root", "run", "sys", "tmp", "var/tmp")
"""Folders that the sandbox mounts something on, and the home of who runs dracut."""


CLOSED = ("rd.shell=0", "rd.emergency=reboot")
"""Where the initial RAM disk comes no further it gives nobody a shell, and tries again."""


class Options(Model):
    """None."""


def options(definition: Definition, given: Given) -> Options:
    """The stage's options: it has none."""
    del definition, given
    return Options()


def run(work: Work) -> None:
    """Make the initial RAM disk by the tree's own dracut, and put it together with the kernel.

    Raises:
        HoldfastError: the tree has no kernel, several, or no dracut; or a tool failed.
    """
    root, out = work.inputs["seal"] / "root", work.out
    version = kernel_version(root)
    (out / "kver").write_text(f"{version}\n")
    cmdline = disk_cmdline(work.definition)
    (out / "cmdline").write_text(f"{cmdline}\n")
    work.sandbox.run(["install", "-m", "0644", kernel_file(root, version), out / "vmlinuz"])
    _initrd(work, root, version)
    assemble(work, root, out, cmdline, out / "uki.efi")


def kernel_version(root: Path) -> str:
    """The version of the only kernel of a tree.

    Raises:
        HoldfastError: there is none, or more than one.
    """
    found = sorted(path.parent.name for path in (root / "usr/lib/modules").glob("*/modules.dep"))
    if len(found) != 1:
        raise fail("kernels", f"an image has one kernel; this tree has {len(found)}: "
                   + (", ".join(found) or "none"), where=str(root),
                   hint="keep one kernel-core in the definition's packages")  # fmt: skip
    return found[0]


def kernel_file(root: Path, version: str) -> Path:
    """The kernel itself: beside its modules as EL has it, else in /boot.

    Raises:
        HoldfastError: it is in neither place.
    """
    for path in (root / f"usr/lib/modules/{version}/vmlinuz", root / f"boot/vmlinuz-{version}"):
        if path.is_file():
            return path
    raise fail("no-kernel", f"kernel {version} has modules and no vmlinuz", where=str(root))


def disk_cmdline(definition: Definition) -> str:
    """The kernel's command line where the root is on the definition's disk."""
    root = layout_of(definition).root
    return " ".join((f"root=UUID={root.uuid}", "ro", *CLOSED, *definition.kernel.arguments))


def assemble(work: Work, root: Path, kernel: Path, cmdline: str, target: Path) -> None:
    """Write the file that firmware starts.

    Args:
        work: whose sandbox.
        root: the sealed tree.
        kernel: the output of this stage.
        cmdline: the kernel's command line.
        target: the file to write.
    """
    line = target.with_name(f".{target.name}.cmdline")
    line.write_text(cmdline)
    sections = {
        ".osrel": root / "usr/lib/os-release",
        ".cmdline": line,
        ".uname": kernel / "kver",
        ".initrd": kernel / "initrd",
        ".linux": kernel / "vmlinuz",
    }
    write_uki(work.sandbox, find_stub(root, work.definition.arch), sections, target)
    line.unlink()


def _initrd(work: Work, sealed: Path, version: str) -> None:
    if not (sealed / "usr/bin/dracut").is_file():
        raise fail("no-dracut", "the tree has no dracut to make its initial RAM disk with",
                   where=str(sealed), hint="add dracut to the definition's packages")  # fmt: skip
    scratch = work.out / ".dracut"
    scratch.mkdir()
    modules, made = scratch / "modules.d", scratch / "out"
    made.mkdir()
    work.sandbox.copy(sealed / _DRACUT, modules)
    for module in sorted(_MODULES.iterdir()):
        shutil.copytree(module, modules / module.name)
    drivers = " ".join(work.definition.kernel.modules)
    work.sandbox.run(
        [
            "dracut", "--force", "--reproducible", "--no-hostonly", "--no-hostonly-cmdline",
            "--kver", version, "--tmpdir", _WHERE, "--add", "holdfast",
            "--filesystems", _ROOTS, "--omit-drivers", _OMITTED,
            *(["--add-drivers", drivers] if drivers else []),
            "--compress", "zstd -3 -T1 -q", f"{_WHERE}/initrd",
        ],
        root=_seen(work, sealed, scratch / "root"),
        env={"DRACUT_NO_XATTR": "1"},
        bind=[
            *(Bind(sealed / name, f"/{name}") for name in parts.BOOT_FOLDERS),
            Bind(made, _WHERE, write=True),
            Bind(modules, f"/{_DRACUT}"),
        ],
        log=scratch / "dracut.log",
    )  # fmt: skip
    work.sandbox.run(["install", "-m", "0644", made / "initrd", work.out / "initrd"])
    work.sandbox.remove(scratch)


def _seen(work: Work, sealed: Path, root: Path) -> Path:
    """Make the root that dracut sees: the part of the sealed tree that the stage's id is of.

    Whatever else is in the tree cannot get into the RAM disk, so that it need not be made again.
    """
    for name in (*parts.BOOT_FOLDERS, *_MOUNTED):
        (root / name).mkdir(parents=True)
    work.sandbox.copy(sealed / "etc", root / "etc")
    work.sandbox.run(["rm", "-rf", *(root / "etc" / name for name in sorted(parts.NOT_AT_BOOT))])
    links = sorted(path for path in sealed.iterdir() if path.is_symlink())
    work.sandbox.run(["cp", "--archive", "--target-directory", root, *links])
    return root
