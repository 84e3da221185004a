# Copyright: Holdfast contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# This file imports ansible.plugins and is therefore under the GNU General Public License,
# version 3 or later; see LICENSES/GPL-3.0-or-later.txt.
"""Turn a reference to a secret into its value, as late as possible."""

from __future__ import annotations

import os
import stat
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase

DOCUMENTATION = r"""
name: secret
short_description: Read a secret by its reference
version_added: 0.1.0
description:
  - Reads V(file:PATH), V(env:NAME) or V(vault:FILE#NAME). Relative paths start from O(base).
  - A literal value is refused, and no message ever holds a value.
  - A value on a single line loses its newline.
options:
  _terms:
    description: References.
    required: true
  base:
    description: The folder that relative paths start from. Left out, the inventory's folder.
    type: str
  private:
    description: Whether a file that everyone on this machine may read is refused.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Keep the key
  holdfast.core.podman_secret:
    secrets:
      - name: api-key
        value: "{{ lookup('holdfast.core.secret', 'file:secrets/api-key') }}"
  no_log: true
"""

RETURN = r"""
_raw:
  description: The values.
  type: list
  elements: str
"""

MAX_BYTES = 1024 * 1024
_VAULT_HEADER = b"$ANSIBLE_VAULT;"


class LookupModule(LookupBase):
    """The lookup."""

    def run(
        self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any
    ) -> list[str]:
        """The value of each reference."""
        self.set_options(var_options=variables, direct=kwargs)
        base = self.get_option("base") or (variables or {}).get("inventory_dir") or "."
        return [self._read(str(term), str(base)) for term in terms]

    def _read(self, reference: str, base: str) -> str:
        kind, _, target = reference.partition(":")
        readers = {"env": self._env, "file": self._file, "vault": self._vault}
        if kind not in readers or not target:
            # The reference may be the secret itself, so it is not shown.
            raise AnsibleError(
                "this is not a reference to a secret. Next: write file:PATH, env:NAME or "
                "vault:FILE#NAME."
            )
        value = readers[kind](reference, target, base)
        value = value if "\n" in value.strip("\r\n") else value.strip("\r\n")
        if not value.strip():
            raise _no(reference, "the secret is empty", "write it there")
        if "\0" in value:
            raise _no(reference, "the secret holds a NUL byte", "write it there as text")
        return value

    def _env(self, reference: str, target: str, base: str) -> str:
        del base
        value = os.environ.get(target, "")
        if not value:
            raise _no(reference, "the environment variable is not set", "export it")
        return value

    def _file(self, reference: str, target: str, base: str) -> str:
        path = os.path.join(base, os.path.expanduser(target))
        raw = _read_bytes(reference, path, private=bool(self.get_option("private")))
        return _text(reference, raw)

    def _vault(self, reference: str, target: str, base: str) -> str:
        named, _, name = target.rpartition("#")
        path = os.path.join(base, os.path.expanduser(named))
        raw = _read_bytes(reference, path, private=False)
        try:
            body = self._loader.load_from_file(path, cache="none")
        except AnsibleError as error:
            # Ansible's own message may show lines of the file.
            hint = "check the vault password, and ansible-vault view the file"
            raise _no(reference, "the vault file cannot be read", hint) from error
        if not isinstance(body, dict) or name not in body:
            raise _no(reference, "the file holds no {0!r}".format(name), "check the name")
        value = body[name]
        vaulted = type(value).__name__ in _VAULTED
        if not vaulted and not raw.startswith(_VAULT_HEADER):
            hint = "ansible-vault encrypt the file"
            raise _no(reference, "{0!r} stands there in the clear".format(name), hint)
        if not vaulted and not isinstance(value, str):
            raise _no(reference, "{0!r} is not text".format(name), "put it in quotes")
        return str(value)


_VAULTED = ("EncryptedString", "AnsibleVaultEncryptedUnicode")


def _no(reference: str, what: str, hint: str) -> AnsibleError:
    return AnsibleError("{0}: {1}. Next: {2}.".format(reference, what, hint))


def _read_bytes(reference: str, path: str, *, private: bool) -> bytes:
    try:
        with open(path, "rb") as stream:
            state = os.fstat(stream.fileno())
            if not stat.S_ISREG(state.st_mode):
                raise _no(reference, "this is not a regular file", "give the path of a file")
            if private and state.st_mode & 0o007:
                raise _no(reference, "everyone here can read the file", "chmod 0600 it")
            raw = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise _no(
            reference, "the file cannot be read: {0}".format(error.strerror), "check the path"
        ) from error
    if len(raw) > MAX_BYTES:
        raise _no(reference, "the file is too large", "this cannot be a secret")
    return raw


def _text(reference: str, raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise _no(reference, "the file is not UTF-8 text", "write the secret as text") from None
