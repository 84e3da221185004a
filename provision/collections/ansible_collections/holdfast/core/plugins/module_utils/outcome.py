# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""What a module did, or would do, collected while it works and handed over at the end."""

from __future__ import annotations

from typing import Any


class Outcome:
    """Collects changes, diffs and the reason why something cannot be known yet.

    A change is a short sentence for a person (``write /etc/chrony.conf``); it never holds file
    contents or a secret. `depends` is set when an earlier change has to happen first.
    """

    def __init__(self, module: Any) -> None:
        self.module = module
        self.changes: list[str] = []
        self.diffs: list[dict[str, str]] = []
        self.depends: str | None = None

    @property
    def check_mode(self) -> bool:
        """Whether nothing may be changed."""
        return bool(self.module.check_mode)

    @property
    def may_come(self) -> bool:
        """Whether, in check mode, an earlier task is to bring what this module looks for."""
        return self.check_mode and bool(self.module.params["expected"])

    def add(
        self, change: str, *, path: str | None = None, before: str = "", after: str = ""
    ) -> None:
        """Note one change; with `path` it also shows up as a diff."""
        self.changes.append(change)
        if path is not None:
            self.diffs.append(
                {
                    "before_header": path,
                    "after_header": path,
                    "before": before,
                    "after": after,
                }
            )

    def exit(self, **values: Any) -> None:
        """End the module successfully."""
        result: dict[str, Any] = dict(values)
        result["changed"] = bool(self.changes)
        if self.changes:
            result["holdfast_changes"] = list(self.changes)
        if self.depends is not None:
            result["holdfast_depends"] = self.depends
        if self.diffs:
            result["diff"] = list(self.diffs)
        self.module.exit_json(**speakable(result))

    def fail(self, what: str, hint: str, **values: Any) -> None:
        """End the module with a failure: what is wrong, and what to do about it."""
        self.module.fail_json(
            msg=speakable("{0} Next: {1}".format(sentence(what), sentence(hint))),
            **speakable({"holdfast_changes": list(self.changes), **values}),
        )


def speakable(value: Any) -> Any:
    """A value that Ansible takes, whatever bytes a file's name is made of.

    Ansible refuses a whole result for one name that is no UTF-8, and every user can make one.
    """
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    if isinstance(value, dict):
        return {speakable(key): speakable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [speakable(item) for item in value]
    return value


def sentence(text: str) -> str:
    """`text` trimmed, on one line, and ended with a full stop."""
    line = " ".join(text.split())
    return line if line.endswith((".", "!", "?")) else line + "."


def run(module: Any, argv: list[str], data: str | None = None) -> tuple[int, str, str]:
    """Run a command with a fixed locale; returns exit status, standard output, standard error.

    A command that does not exist gives 127. `data` goes to standard input, never to the
    command line.
    """
    if module.get_bin_path(argv[0]) is None and not argv[0].startswith("/"):
        return 127, "", "{0}: not found".format(argv[0])
    code, out, err = module.run_command(
        argv,
        data=data,
        binary_data=True,
        environ_update={"LC_ALL": "C.UTF-8", "LANG": "C.UTF-8"},
        handle_exceptions=True,
    )
    return int(code), str(out), str(err)
