"""Debian trees: where packages come from, and building a root with mmdebstrap."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from provision.core.problems import fail
from provision.rehearsal.shell import run

# No documentation on nodes; licence texts stay.
_LEAN = (
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
)


def mirror() -> str:
    """The Debian mirror that this host itself uses, from its own apt configuration.

    Raises:
        HoldfastError: apt has no source for Debian's main archive.
    """
    listing = run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT) $(ORIGIN)",
         "Created-By: Packages"]
    )  # fmt: skip
    for line in listing.splitlines():
        address, release, component, origin = [*line.split(" ", 3), "", "", ""][:4]
        security = "security" in release or release.endswith(("-updates", "-backports"))
        if component == "main" and origin == "Debian" and not security:
            return address
    raise fail(
        "no-mirror",
        "apt on this host has no source for Debian's main archive",
        hint="run `apt-get update`, and look at /etc/apt/sources.list.d",
    )


def build_tree(
    tree: Path,
    suite: str,
    include: Sequence[str],
    *,
    variant: str,
    hooks: Sequence[str] = (),
    log: Path,
) -> None:
    """Fill `tree` with a Debian root of `suite`, using this host's mirror and proxy.

    `hooks` are mmdebstrap customize hooks. Signatures are checked; the release file's date is
    not, because a mirror that nobody refreshes is what this project prepares for.

    Raises:
        HoldfastError: mmdebstrap failed; `log` holds all it said.
    """
    settings = log.with_suffix(".aptconf")
    settings.write_text(_apt_settings(), encoding="utf-8")
    run(
        [
            "mmdebstrap", "--mode=root", f"--variant={variant}", "--format=directory",
            f"--include={','.join(include)}", f"--aptopt={settings}",
            *(f"--dpkgopt={option}" for option in _LEAN),
            *(f"--customize-hook={hook}" for hook in hooks),
            suite, tree, mirror(),
        ],
        log=log,
    )  # fmt: skip


def _apt_settings() -> str:
    wanted = ("Acquire::http", "Acquire::https", "Acquire::Retries")
    kept = [line for line in run(["apt-config", "dump"]).splitlines() if line.startswith(wanted)]
    kept += ['Acquire::Check-Valid-Until "false";', 'Acquire::Languages "none";']
    return "\n".join(kept) + "\n"
