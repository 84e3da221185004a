"""Stage tree: the root file system with every package, before anything is configured.

The tools of the tree's own distribution install the packages: dnf of the tree where it is a
rehearsal's, else this machine's dnf into an empty root. There is no network, and the only
repository is the one that resolve laid out.
"""

from __future__ import annotations

from pathlib import Path

from provision.core.problems import fail
from provision.core.shapes import Model
from provision.image import sources
from provision.image.definition import Definition
from provision.image.sandbox import Bind
from provision.image.work import Given, Work

VERSION = 1
NEEDS = ("resolve",)
READS = ("base", "release", "arch")
TOOLS: tuple[str, ...] = ()
REPOSITORY = "/run/holdfast/repo"


class Options(Model):
    """What is installed."""

    source: str
    packages: tuple[str, ...]


def options(definition: Definition, given: Given) -> Options:
    """What resolve found.

    Raises:
        HoldfastError: a package is not to be had.
    """
    from provision.image.stage_resolve import wanted

    source = sources.of(definition, given)
    return Options(source=source.digest, packages=wanted(definition, source))


def run(work: Work) -> None:
    """Lay out the base, and install what is wanted beside it.

    Raises:
        HoldfastError: a tool is missing or failed.
    """
    root = work.out / "root"
    if work.definition.base == "rehearsal":
        assert work.given.base is not None
        work.sandbox.copy(work.given.base / "root", root)
        _install_inside(work, root)
    else:
        root.mkdir()
        _install_from_outside(work, root)
    _tidy(work, root)


def _dnf(repository: Path | str, scratch: Path | str) -> list[str]:
    """The words of a dnf that knows one repository and keeps nothing but in `scratch`."""
    settings = {
        # Every file was compared with the digest that pins it.
        "gpgcheck": "0",
        "install_weak_deps": "0",
        "tsflags": "nodocs",
        "keepcache": "0",
        "plugins": "0",
        "history_record": "0",
        "reposdir": "/dev/null",
        "varsdir": "/dev/null",
        "cachedir": f"{scratch}/dnf",
        "logdir": str(scratch),
    }
    return ["dnf", "--quiet", "--assumeyes", f"--repofrompath=image,file://{repository}",
            *(f"--setopt={name}={value}" for name, value in settings.items())]  # fmt: skip


def _install_inside(work: Work, root: Path) -> None:
    if not work.options.packages:
        return
    bind = [Bind(work.inputs["resolve"] / "repo", REPOSITORY)]
    argv = [*_dnf(REPOSITORY, "/tmp"), "install", *work.options.packages]
    work.sandbox.run(argv, root=root, bind=bind, log=work.out / "dnf.log")


def _install_from_outside(work: Work, root: Path) -> None:
    if not work.options.packages:
        raise fail("empty-tree", "the definition names no package that a system could start from",
                   hint="add at least kernel-core, systemd and system-release")  # fmt: skip
    # Where this machine's rpm keeps its database elsewhere than the tree's, the tree decides.
    place = "/var/lib/rpm" if work.definition.release == 9 else "/usr/lib/sysimage/rpm"
    home = work.out / "home"
    home.mkdir()
    macros = f"%_dbpath {place}\n%_db_backend sqlite\n%_install_langs C:en\n"
    (home / ".rpmmacros").write_text(macros, encoding="utf-8")
    argv = [
        *_dnf(work.inputs["resolve"] / "repo", work.sandbox.scratch or work.out),
        # Outside of the root, this machine's own dnf would keep its state.
        f"--setopt=persistdir={root}/var/lib/dnf",
        f"--installroot={root}",
        f"--releasever={work.definition.release}",
        f"--forcearch={work.definition.arch}",
    ]
    env = {"HOME": str(home), "RPM_FORCE_DEBIAN": "1"}
    work.sandbox.run([*argv, "install", *work.options.packages], env=env,
                     log=work.out / "dnf.log")  # fmt: skip
    work.sandbox.run(["rm", "-rf", home])


def _tidy(work: Work, root: Path) -> None:
    """What dnf leaves of itself: it says when and where the tree was made, and nothing else."""
    left = ("var/lib/dnf", "var/cache/dnf", "var/log/dnf.log", "var/log/dnf.librepo.log",
            "var/log/dnf.rpm.log", "var/log/hawkey.log", "root/.rpmdb")  # fmt: skip
    work.sandbox.run(["rm", "-rf", *(root / path for path in left)])
