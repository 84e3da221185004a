"""Runs `holdfast inventory check` on mutated inventories, in this process, under watch."""

from __future__ import annotations

import collections
import sys
from pathlib import Path
from typing import Any

import pytest

from provision.cli.main import main
from tests.data.inventory_mutations import mutations, write

FORBIDDEN = ("socket.", "subprocess.", "os.exec", "os.fork", "os.posix_spawn", "os.system")


class Watch:
    """Notes every attempt to open a socket or to start a program while it is on."""

    def __init__(self) -> None:
        self.on = False
        self.seen: list[str] = []
        sys.addaudithook(self._hook)  # stays for good, so it is switched

    def _hook(self, event: str, _: tuple[Any, ...]) -> None:
        if self.on and event.startswith(FORBIDDEN):
            self.seen.append(event)

    def __enter__(self) -> None:
        self.on = True

    def __exit__(self, *_: object) -> None:
        self.on = False


WATCH = Watch()


def check_mutations(
    seed: int, count: int, folder: Path, capsys: pytest.CaptureFixture[str]
) -> collections.Counter[int]:
    """How often each exit code came; fails at the first that is neither 0 nor 2.

    `folder` must be XDG_STATE_HOME's parent or any other place of the test's own.
    """
    codes: collections.Counter[int] = collections.Counter()
    for number, files in enumerate(mutations(seed, count)):
        path = write(files, folder / "rack")
        verb = "check" if number % 4 else "show"
        with WATCH:
            code = main(["inventory", verb, str(path)])
        out, err = capsys.readouterr()
        label = f"seed {seed}, mutation {number}"
        assert code in (0, 2), f"{label}: exit {code}\n{err}"
        assert "Traceback" not in err, label
        assert bool(err) == (code == 2), label
        assert "\x1b" not in out + err, f"{label}: a control sequence reached the terminal"
        if code == 2:
            assert all(_placed(line) for line in err.splitlines() if line.startswith("error: ")), (
                f"{label}: a problem without a place\n{err}"
            )
        codes[code] += 1
    assert not WATCH.seen, WATCH.seen[:5]
    return codes


def _placed(line: str) -> bool:
    """Whether an `error:` line names a file, a line and a column."""
    parts = line.removeprefix("error: ").split(":")
    return len(parts) > 3 and parts[1].isdigit() and parts[2].isdigit()
