"""Says what lies on a node, for `holdfast image drift`; it is sent along and leaves nothing behind.

Python 3.9 and its standard library only. The job comes as JSON on standard input: `apart`, the
folders whose content is not looked at, and `packages`, those that the image has. The answer is
zlib's, of lines: a JSON object about the node, a line of ``files.tsv`` for every path (see
`provision.image.filelist`), and a JSON object with what could not be looked at. A path whose
content cannot be read has ``?`` for it.

Folders of other machines and of the kernel are not entered: only what a disk of this node holds
came from an image. What is mounted in place of that is named.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator

SCHEMA = "holdfast.node-files/1"
IMAGE = "/etc/holdfast/image.json"
LOCAL = frozenset(("ext2", "ext3", "ext4", "xfs", "btrfs", "overlay", "erofs", "squashfs", "vfat",
                   "f2fs"))  # fmt: skip
"""File systems whose content may have come from an image."""
UNREAD = "?"
_PIECE = 1 << 20
_TYPES = ((stat.S_ISREG, "f"), (stat.S_ISDIR, "d"), (stat.S_ISLNK, "l"), (stat.S_ISCHR, "c"),
          (stat.S_ISBLK, "b"), (stat.S_ISFIFO, "p"), (stat.S_ISSOCK, "s"))  # fmt: skip


def main() -> None:
    """Answer the job on standard input."""
    job = json.load(sys.stdin)
    packer = zlib.compressobj(6)

    def say(text: str) -> None:
        sys.stdout.buffer.write(packer.compress(text.encode("ascii")))

    walk = Walk("/", mounts(), job["apart"])
    say(json.dumps(about(job["packages"])) + "\n")
    for line in walk.lines():
        say(line)
    say(json.dumps({"errors": walk.errors, "mounted": walk.mounted}) + "\n")
    sys.stdout.buffer.write(packer.flush())
    sys.stdout.flush()


def about(known: list[str]) -> dict[str, object]:
    """What the node says of itself: its image, its packages, and what it was started with."""
    return {
        "schema": SCHEMA,
        "image": attempt(lambda: json.loads(text_of(IMAGE))),
        "packages": attempt(lambda: packages(frozenset(known))),
        "cmdline": attempt(lambda: text_of("/proc/cmdline").strip()),
        "kernel": {"value": os.uname().release},
        "arch": os.uname().machine,
    }


def attempt(look: Callable[[], object]) -> dict[str, object]:
    """What `look` saw, or why it saw nothing; that something is not there is an answer."""
    try:
        return {"value": look()}
    except FileNotFoundError as error:
        return {"absent": str(error)}
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        return {"error": str(error)}


def text_of(path: str) -> str:
    """The text of a small file."""
    with open(path, encoding="utf-8", errors="surrogateescape") as stream:
        return stream.read(1 << 20)


def packages(known: frozenset[str]) -> dict[str, list[str]]:
    """Every package by name, epoch, version, release and architecture, as rpm's database has it.

    Those that are not in `known` come with the paths that they own.
    """
    form = r"%{DBINSTANCE}\t%{NAME}-%{EPOCHNUM}:%{VERSION}-%{RELEASE}.%{ARCH}\n"
    found = {}
    for line in rpm("-qa", "--qf", form):
        number, _, nevra = line.partition("\t")
        # A public key has no architecture.
        nevra = nevra.replace(".(none)", "")
        # By its number: not every rpm knows a package by a name with an epoch.
        ask = ("-q", "--querybynumber", number, "--qf", r"[%{FILENAMES}\n]")
        found[nevra] = [] if nevra in known else rpm(*ask)
    return found


def rpm(*words: str) -> list[str]:
    """The lines that rpm prints."""
    done = subprocess.run(["rpm", *words], stdin=subprocess.DEVNULL, capture_output=True,
                          check=True, timeout=120)  # fmt: skip
    return done.stdout.decode("utf-8", "surrogateescape").splitlines()


def mounts() -> dict[str, str]:
    """The type of the file system at every mount point."""
    found = {}
    for line in text_of("/proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        point = re.sub(r"\\([0-7]{3})", lambda m: chr(int(m.group(1), 8)), before.split()[4])
        found[point] = after.split()[0]
    return found


class Walk:
    """A walk through a tree; `errors` and `mounted` say what it did not see.

    `top` is where the tree lies, `mounts` what is mounted (by path as seen), `apart` the folders
    that are not entered, by path in the tree.
    """

    def __init__(self, top: str, mounts: dict[str, str], apart: list[str]) -> None:
        self.top = top.rstrip("/")
        self.mounts = mounts
        self.apart = frozenset(apart)
        self.errors: dict[str, str] = {}
        self.mounted: dict[str, str] = {}

    def lines(self) -> Iterator[str]:
        """A line for every path, folders before what they hold."""
        todo = ["/"]
        while todo:
            path = todo.pop()
            if path != "/" and self._elsewhere(path):
                continue
            line = self.line(path)
            if line is None:
                continue
            yield line
            if "\td\t" in line and path not in self.apart:
                todo.extend(self._inside(path))

    def _elsewhere(self, path: str) -> bool:
        kind = self.mounts.get(path)
        if kind is None or kind in LOCAL:
            return False
        self.mounted[path] = kind
        return True

    def _inside(self, path: str) -> list[str]:
        try:
            with os.scandir(self.top + path) as inside:
                names = [entry.name for entry in inside]
        except OSError as error:
            self.errors[path] = error.strerror or str(error)
            return []
        return [path.rstrip("/") + "/" + name for name in sorted(names, reverse=True)]

    def line(self, path: str) -> str | None:
        """The line of one path; None where it is gone, or where nothing can be said of it."""
        place = self.top + path
        try:
            state = os.lstat(place)
            kind = next(word for test, word in _TYPES if test(state.st_mode))
            holds, why = self._holds(place, kind, state)
            xattrs = self._xattrs(place)
        except FileNotFoundError:
            return None  # it went while we looked
        except OSError as error:
            self.errors[path] = error.strerror or str(error)
            return None
        if why:
            self.errors[path] = why
        cells = (json.dumps(path), kind, f"{stat.S_IMODE(state.st_mode):04o}",
                 str(state.st_uid), str(state.st_gid),
                 str(state.st_size if kind == "f" else 0), holds, xattrs)  # fmt: skip
        return "\t".join(cells) + "\n"

    def _holds(self, place: str, kind: str, state: os.stat_result) -> tuple[str, str]:
        """What the path holds, and why that is not known."""
        if kind == "l":
            # As it is written: a Path would tidy it.
            return json.dumps(os.readlink(place)), ""
        if kind in "cb":
            return f"{os.major(state.st_rdev)}:{os.minor(state.st_rdev)}", ""
        if kind != "f":
            return "-", ""
        try:
            return digest(place), ""
        except FileNotFoundError:
            raise
        except OSError as error:
            return UNREAD, error.strerror or str(error)

    def _xattrs(self, place: str) -> str:
        found = []
        for name in sorted(os.listxattr(place, follow_symlinks=False)):
            if name != "security.selinux" and not name.startswith(("system.", "trusted.")):
                value = os.getxattr(place, name, follow_symlinks=False)
                found.append(f"{name}={value.hex()}")
        return ",".join(found) or "-"


def digest(place: str) -> str:
    """The sha256 of a file."""
    whole = hashlib.sha256()
    # Without waiting: what was a file a moment ago may be a pipe now.
    handle = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb", 0) as stream:
        while True:
            piece = stream.read(_PIECE)
            if not piece:
                return whole.hexdigest()
            whole.update(piece)


if __name__ == "__main__":
    main()
