# Copyright: Holdfast contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# This file imports ansible.plugins and is therefore under the GNU General Public License,
# version 3 or later; see LICENSES/GPL-3.0-or-later.txt.
"""Runs tasks in the root of an image, inside the sandbox that builds it."""

from __future__ import annotations

import os
import shlex
import subprocess

from ansible.errors import AnsibleConnectionFailure, AnsibleFileNotFound
from ansible.plugins.connection import ConnectionBase

DOCUMENTATION = r"""
name: sandbox
short_description: Run tasks in the root of an image, inside the sandbox that builds it
version_added: 0.2.0
description:
  - Enters the namespaces of a process that C(holdfast image build) keeps - user, mount, process,
    network, IPC and host name - and runs there. The network namespace has no interface, and /proc
    shows the sandbox's own processes only, so nothing of this machine can be reached by a task.
  - Tasks run as root of the user namespace. Whoever builds may be an ordinary user.
options:
  process:
    description: A process of the sandbox, as a number.
    type: int
    required: true
    vars:
      - name: ansible_sandbox_process
  environment:
    description: The environment that commands get; nothing of this process's is handed on.
    type: dict
    default: {}
    vars:
      - name: ansible_sandbox_environment
"""

_NAMESPACES = ("--user", "--mount", "--pid", "--net", "--ipc", "--uts")


class Connection(ConnectionBase):
    """The connection."""

    transport = "holdfast.core.sandbox"
    has_pipelining = True

    def _connect(self) -> Connection:
        """There is nothing to open: each command enters by itself."""
        super()._connect()
        if not os.path.exists("/proc/{0}".format(self.get_option("process"))):
            raise AnsibleConnectionFailure(
                "the sandbox has ended. Next: start the build again; what was done is kept."
            )
        self._connected = True
        return self

    def exec_command(
        self, cmd: str, in_data: bytes | None = None, sudoable: bool = True
    ) -> tuple[int, bytes, bytes]:
        """Run a shell line inside."""
        super().exec_command(cmd, in_data=in_data, sudoable=sudoable)
        self._display.vvv("EXEC {0}".format(cmd), host=self._play_context.remote_addr)
        return self._inside(["/bin/sh", "-c", cmd], in_data)

    def put_file(self, in_path: str, out_path: str) -> None:
        """Copy a file into the root."""
        super().put_file(in_path, out_path)
        try:
            with open(in_path, "rb") as stream:
                data = stream.read()
        except OSError as error:
            raise AnsibleFileNotFound("{0} cannot be read: {1}".format(in_path, error)) from error
        code, _, err = self._inside(["/bin/sh", "-c", "cat > {0}".format(shlex.quote(out_path))],
                                    data)  # fmt: skip
        if code != 0:
            raise AnsibleConnectionFailure("{0}: {1}".format(out_path, _text(err)))

    def fetch_file(self, in_path: str, out_path: str) -> None:
        """Copy a file out of the root."""
        super().fetch_file(in_path, out_path)
        code, out, err = self._inside(["cat", "--", in_path], None)
        if code != 0:
            raise AnsibleConnectionFailure("{0}: {1}".format(in_path, _text(err)))
        with open(out_path, "wb") as stream:
            stream.write(out)

    def close(self) -> None:
        """Nothing stays open."""
        self._connected = False

    def _inside(self, command: list[str], data: bytes | None) -> tuple[int, bytes, bytes]:
        self._connect()
        process = "--target={0}".format(self.get_option("process"))
        argv = ["nsenter", process, *_NAMESPACES, "--setuid=0", "--setgid=0", *command]
        given = {str(k): str(v) for k, v in (self.get_option("environment") or {}).items()}
        done = subprocess.run(
            argv,
            input=data or b"",
            capture_output=True,
            env={"PATH": os.environ.get("PATH", ""), **given},
            check=False,
        )
        return done.returncode, done.stdout, done.stderr


def _text(said: bytes) -> str:
    return said.decode("utf-8", "replace").strip()
