"""Packs the audit into one file that any Python 3.9 or newer runs: code, data, nvidia-ml-py.

Runs on the controller only; it does not go into the file. The same inputs give the same bytes.
"""

from __future__ import annotations

import importlib.metadata
import io
import re
import zipfile
from pathlib import Path

HOME = Path(__file__).resolve().parent
LIBRARY = "nvidia-ml-py"
_SHEBANG = b"#!/usr/bin/env python3\n"
_STAMP = (1980, 1, 1, 0, 0, 0)
_LEFT_OUT = ("build.py", "docs.py")
_MAIN = "import sys\nfrom provision.health.cli import main\nsys.exit(main())\n"


class CannotBuild(Exception):
    """Something that must be in the file is not there; the message says what."""


def build(target: Path, locked: str | None = None) -> None:
    """Write the audit to `target`, executable.

    Args:
        target: the file to write.
        locked: the version of nvidia-ml-py that must be found, as requirements.lock pins it.

    Raises:
        CannotBuild: nvidia-ml-py is not installed, or not in the locked version.
        OSError: `target` cannot be written.
    """
    target.write_bytes(program(locked))
    target.chmod(0o755)


def program(locked: str | None = None) -> bytes:
    """The bytes of the file; see `build`.

    Raises:
        CannotBuild: nvidia-ml-py is not installed, or not in the locked version.
    """
    return _SHEBANG + packed(contents(locked))


def contents(locked: str | None = None) -> dict[str, bytes]:
    """Every file that goes in, by its name inside."""
    found = {
        "__main__.py": _MAIN.encode(),
        "provision/__init__.py": b'"""Holdfast, as far as a node needs it."""\n',
    }
    for path in sorted(HOME.rglob("*")):
        name = path.relative_to(HOME).as_posix()
        wanted = path.suffix in (".py", ".json") and name not in _LEFT_OUT
        if wanted and "__pycache__" not in name:
            found[f"provision/health/{name}"] = path.read_bytes()
    return {**found, **library(locked)}


def library(locked: str | None = None) -> dict[str, bytes]:
    """nvidia-ml-py's module and its licence, from where this Python has it installed.

    Raises:
        CannotBuild: it is not there, in another version, or without its licence.
    """
    try:
        found = importlib.metadata.distribution(LIBRARY)
    except importlib.metadata.PackageNotFoundError as error:
        raise CannotBuild(f"{LIBRARY} is not installed") from error
    if locked is not None and found.version != locked:
        raise CannotBuild(f"{LIBRARY} is {found.version}; the lock says {locked}")
    module = Path(str(found.locate_file("pynvml.py")))
    if not module.is_file():
        raise CannotBuild(f"{LIBRARY} {found.version} has no pynvml.py")
    code = module.read_bytes()
    return {
        "pynvml.py": code,
        f"licenses/{LIBRARY}-{found.version}.txt": licence(code.decode("utf-8")).encode(),
    }


def licence(code: str) -> str:
    """The licence that stands at the head of the module.

    Raises:
        CannotBuild: it does not stand there.
    """
    head = re.match(r"#####\n((?:#.*\n)+?)#####\n", code)
    text = re.sub(r"(?m)^# ?", "", head[1]) if head else ""
    if "Redistribution and use in source and binary forms" not in text:
        raise CannotBuild("pynvml.py does not begin with its licence any more")
    return text


def locked_version(lock: str) -> str:
    """The version of nvidia-ml-py in a requirements file.

    Raises:
        CannotBuild: it is not pinned there.
    """
    match = re.search(rf"(?m)^{re.escape(LIBRARY)}==([^\s\\;]+)", lock)
    if match is None:
        raise CannotBuild(f"{LIBRARY} is not pinned in the lock")
    return match[1]


def packed(files: dict[str, bytes]) -> bytes:
    """A zip archive with fixed times, order and rights."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _STAMP)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            archive.writestr(entry, files[name], compresslevel=9)
    return made.getvalue()
