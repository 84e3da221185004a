"""Files that EL's packages have and Debian's do not, or have elsewhere or with other contents.

They lie in ``el_files/<RPM name>/`` as they shall lie on a node, and belong to the RPM of that name
there: its file list names them, and `rpm -V` finds them as they were made.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from provision.rehearsal.recipe import Recipe

FOLDER = Path(__file__).with_name("el_files")

# git keeps no other bit of a file's mode than that it can be run.
_MODES = {
    "/etc/ssh/sshd_config": 0o600,
    "/etc/ssh/sshd_config.d/50-redhat.conf": 0o600,
    "/etc/ssh/sshd_config.d/60-rehearsal.conf": 0o600,
    "/etc/sudoers": 0o440,
    "/etc/aide.conf": 0o600,
    "/etc/sysconfig/sshd": 0o640,
}

_FOLDERS = {
    "aide": {"/var/lib/aide": 0o700, "/var/log/aide": 0o700},
    "rsyslog": {"/var/lib/rsyslog": 0o700},
    "authselect-libs": {"/etc/authselect": 0o755},
}
"""Folders that git cannot hold, because nothing is in them."""

_INCLUDES = {
    "auth": "auth       include      system-auth",
    "account": "account    include      system-auth",
    "password": "password   include      system-auth",
    "session": "session    include      system-auth",
}


def packages() -> tuple[str, ...]:
    """The RPM names that have files here."""
    return tuple(sorted({*(path.name for path in FOLDER.iterdir()), *_FOLDERS}))


def paths_of(package: str) -> tuple[str, ...]:
    """The absolute paths of the files that belong to `package`; none for most."""
    home = FOLDER / package
    files = (path for path in sorted(home.rglob("*")) if path.is_file())
    return (*(f"/{path.relative_to(home)}" for path in files), *_FOLDERS.get(package, ()))


def texts() -> list[bytes]:
    """Everything that decides what is laid out, for cache keys."""
    found = [Path(__file__).read_bytes()]
    for path in sorted(FOLDER.rglob("*")):
        if path.is_file():
            found += [str(path.relative_to(FOLDER)).encode(), path.read_bytes()]
    return found


def lay_out(tree: Path, names: Iterable[str]) -> None:
    """Put the files of the RPMs `names` into `tree`, in place of whatever was there."""
    for name in names:
        for path, mode in _FOLDERS.get(name, {}).items():
            (tree / path[1:]).mkdir(parents=True, exist_ok=True)
            (tree / path[1:]).chmod(mode)
        for path in paths_of(name):
            source = FOLDER / name / path[1:]
            if not source.is_file():
                continue
            target = tree / path[1:]
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            target.write_bytes(source.read_bytes())
            target.chmod(_MODES.get(path, 0o755 if source.stat().st_mode & 0o100 else 0o644))


def include_as_el(tree: Path) -> None:
    """Let the PAM services of `tree` include EL's stacks where they include Debian's."""
    for folder in ("etc/pam.d", "usr/lib/pam.d"):
        for path in sorted((tree / folder).glob("*")):
            if path.is_symlink() or not path.is_file():
                continue
            text = path.read_text(encoding="utf-8")
            changed = pam_as_el(text)
            if changed != text:
                path.write_text(changed, encoding="utf-8")


def pam_as_el(text: str) -> str:
    """A PAM service's text with Debian's ``@include common-*`` as lines that every PAM reads."""
    return re.sub(
        r"^@include\s+common-([a-z]+)(?:-noninteractive)?[ \t]*$",
        lambda found: _INCLUDES[found[1]],
        text,
        flags=re.MULTILINE,
    )


def leave_out(tree: Path, recipe: Recipe) -> None:
    """Remove from `tree` what EL's packages do not have."""
    for pattern in recipe.left_out:
        for path in tree.glob(pattern):
            remove(path)


def remove(path: Path) -> None:
    """Remove a file or a folder; one that is not there is fine."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
