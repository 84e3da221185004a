"""Secrets by reference: where one is, never what it is.

`SecretRef` travels through inventories, journals and reports; only `read_secret` turns it into
the value, as late as possible.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from provision.core.exitcodes import ExitCode
from provision.core.names import suggest
from provision.core.problems import HoldfastError, fail
from provision.core.yamlpos import Tagged, parse_yaml
from provision.rack.formats import path_fault

Where = Literal["file", "env", "vault"]
KINDS: tuple[Where, ...] = ("file", "env", "vault")
MAX_BYTES = 1024 * 1024
VAULT_SECONDS = 60
"""How long `ansible-vault` may take; it derives a key and runs no network."""

_ENV = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_VAULT_HEADER = "$ANSIBLE_VAULT;"


@dataclass(frozen=True)
class SecretRef:
    """Where a secret is: a file, an environment variable, or a name in a vault file."""

    kind: Where
    target: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.target}"

    @staticmethod
    def parse(text: str) -> SecretRef:
        """The reference that `text` writes.

        Raises:
            ValueError: it is not a reference. The message never holds `text`, which may be the
                secret itself.
        """
        word, colon, target = text.partition(":")
        kind = next((known for known in KINDS if known == word), None)
        if not colon or kind is None:
            raise ValueError("this is not a reference to a secret")
        if not target or "\0" in target or "\n" in target or target != target.strip():
            raise ValueError(f"nothing usable follows {kind!r} and the colon")
        if kind == "env" and not _ENV.fullmatch(target):
            raise ValueError("after 'env:' comes the name of an environment variable")
        if kind == "vault" and not all(target.rpartition("#")):
            raise ValueError("after 'vault:' comes FILE#NAME")
        ref = SecretRef(kind, target)
        fault = None if kind == "env" else path_fault(ref.file)
        if fault is not None:
            raise ValueError(f"after '{kind}:' comes the path of a file; {fault}")
        return ref

    @property
    def file(self) -> str:
        """The path of the file as written; empty for an environment variable."""
        if self.kind == "env":
            return ""
        return self.target.rpartition("#")[0] if self.kind == "vault" else self.target

    def path(self, base: Path) -> Path | None:
        """The file that must be read, or None for an environment variable."""
        return base / Path(self.file).expanduser() if self.file else None


def read_secret(ref: SecretRef, base: Path, *, private: bool = True) -> str:
    """The value of a secret.

    Args:
        ref: where it is.
        base: the folder that relative paths start from (the inventory's).
        private: whether a file that others may read is refused; False for certificates.

    Returns:
        The value; a single line loses its newline.

    Raises:
        HoldfastError: it is missing, empty, unreadable, or readable by everyone (exit code 2).
            The message names the reference and never the value.
    """
    if ref.kind == "env":
        value = os.environ.get(ref.target, "")
        if not value:
            raise _no(ref, f"the environment variable {ref.target} is not set", "export it")
    elif ref.kind == "file":
        value = _read_file(ref, base, private=private)
    else:
        value = _read_vault(ref, base)
    single = value.strip("\r\n")
    value = value if "\n" in single else single
    if not value.strip():
        raise _no(ref, "the secret is empty", "write it there")
    if "\0" in value:
        raise _no(ref, "the secret holds a NUL byte", "write it there as text")
    return value


def _no(ref: SecretRef, message: str, hint: str) -> HoldfastError:
    return fail("secret", message, hint=hint, where=str(ref), exit_code=ExitCode.USAGE)


def _read_file(ref: SecretRef, base: Path, *, private: bool) -> str:
    path = ref.path(base)
    assert path is not None
    try:
        with path.open("rb") as stream:
            state = os.fstat(stream.fileno())
            if not stat.S_ISREG(state.st_mode):
                raise _no(ref, "this is not a regular file", "give the path of a file")
            if private and state.st_mode & 0o007:
                raise _no(ref, f"everyone on this machine can read {path}", f"chmod 0600 {path}")
            raw = stream.read(MAX_BYTES + 1)
    except OSError as error:
        hint = "check the path" if error.errno == errno.ENOENT else "check its permissions"
        raise _no(ref, f"{path} cannot be read: {error.strerror}", hint) from error
    if len(raw) > MAX_BYTES:
        raise _no(ref, f"{path} is larger than {MAX_BYTES} bytes", "this cannot be a secret")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise _no(ref, f"{path} is not UTF-8 text", "write the secret as text") from None


def _read_vault(ref: SecretRef, base: Path) -> str:
    """A name out of a vault: a file that is encrypted whole, or one with ``!vault`` values."""
    path = ref.path(base)
    assert path is not None
    name = ref.target.rpartition("#")[2]
    text = _read_file(ref, base, private=False)
    encrypted = text.startswith(_VAULT_HEADER)
    if encrypted:
        text = _decrypt(ref, text)
    # Problems of this text could show a piece of it, so they are not passed on.
    document, problems = parse_yaml(text, str(path))
    data = document.data if document else None
    if problems or not isinstance(data, dict):
        raise _no(ref, f"{path} does not hold a YAML mapping of names to secrets", "mend the file")
    if name not in data:
        known = [k for k in data if isinstance(k, str)]
        raise _no(ref, f"{path} holds no {name!r}", suggest(name, known))
    value = data[name]
    if isinstance(value, Tagged):
        return _decrypt(ref, value.text)
    if not encrypted:
        raise _no(ref, f"{name!r} stands in {path} in the clear", f"ansible-vault encrypt {path}")
    if not isinstance(value, str):
        raise _no(ref, f"{name!r} in {path} is not text", "put it in quotes")
    return value


def _decrypt(ref: SecretRef, text: str) -> str:
    """Run Ansible's own `ansible-vault`; it takes its password as Ansible is told to."""
    command = _ansible_vault()
    if command is None:
        raise _no(ref, "ansible-vault is not installed", "install ansible-core")
    try:
        done = subprocess.run(
            [command, "decrypt", "--output", "-"],
            input=text.encode(),
            capture_output=True,
            timeout=VAULT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _no(ref, f"ansible-vault did not finish: {error}", "run it by hand") from error
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        reason = next((line for line in said if "ERROR" in line), said[-1] if said else "no reason")
        hint = "set ANSIBLE_VAULT_PASSWORD_FILE to the file with the vault's password"
        raise _no(ref, f"ansible-vault refused: {reason}", hint)
    return done.stdout.decode("utf-8", "replace")


def _ansible_vault() -> str | None:
    # The one of this installation, before whatever else is on PATH.
    beside = Path(sys.executable).parent / "ansible-vault"
    return str(beside) if beside.exists() else shutil.which("ansible-vault")
