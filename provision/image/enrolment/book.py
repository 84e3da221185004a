"""What an enrolment keeps: who may claim, who did, and whose key was accepted.

Below ``$XDG_STATE_HOME/holdfast/enrolment/RACK/``, for the operator's eyes alone: ``book.jsonl``,
one line for each step, on the disk before the step counts; and ``tokens.json``, the tokens of a
window that is open, which goes when the window is closed.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from provision.core.files import append_line, write_whole
from provision.core.locks import FileLock, Held
from provision.core.paths import state_home
from provision.core.problems import fail
from provision.engine.journal import mend


@dataclass
class Standing:
    """Where one node stands: the keys that were claimed for it, and the one that was accepted."""

    mac: str
    token: str = ""
    """The sha256 of its last token."""
    claims: list[str] = field(default_factory=list)
    accepted: str | None = None
    doubted: bool = False
    """Whether the console showed another key than the one that was claimed."""

    @property
    def contested(self) -> bool:
        """Whether two keys were claimed with one token, so that neither is the node's."""
        return len(self.claims) > 1

    @property
    def claimed(self) -> str | None:
        """The one key that was claimed."""
        return self.claims[0] if len(self.claims) == 1 else None


@dataclass(frozen=True)
class Token:
    """What proves a claim for one MAC, until a time in Unix seconds."""

    node: str
    secret: str = field(repr=False)
    until: float


class Book:
    """The steps of a rack's enrolments, read back and written on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "book.jsonl"
        self.nodes: dict[str, Standing] = {}
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        mend(self.path)
        for line in _lines(self.path):
            self._take(line)

    def lock(self) -> FileLock:
        """What whoever holds a window open has.

        Raises (on entry):
            HoldfastError: a window is open elsewhere.
        """
        return _Lock(self.folder / "lock", {"does": "enroll"})

    def arm(
        self, macs: Mapping[str, str], until: float, fresh: Sequence[str] = ()
    ) -> dict[str, Token]:
        """Give every MAC in `macs` (by node) a token, by MAC.

        A token of a window that was killed goes on: its node may hold it already. `fresh` names
        nodes that get another one all the same.
        """
        kept = self._tokens()
        tokens = {}
        for node, mac in macs.items():
            old = kept.get(mac)
            goes_on = old and old.node == node and old.until > time.time() and node not in fresh
            secret = old.secret if old and goes_on else secrets.token_urlsafe(32)
            tokens[mac] = Token(node, secret, until)
            digest = hashlib.sha256(secret.encode()).hexdigest()
            if not goes_on:
                self._note("armed", node, mac=mac, token=digest, until=until)
        body = {mac: vars(token) for mac, token in tokens.items()}
        write_whole(self.folder / "tokens.json", json.dumps(body, indent=1) + "\n", mode=0o600)
        return tokens

    def disarm(self) -> None:
        """Let no token be of use any more."""
        (self.folder / "tokens.json").unlink(missing_ok=True)

    def claim(self, node: str, host_key: str, address: str) -> None:
        """Note that a key was claimed, before anybody is answered."""
        self._note("claimed", node, host_key=host_key, address=address)

    def accept(self, node: str, host_key: str, by: str) -> None:
        """Note that a key is the node's, and who says so."""
        self._note("accepted", node, host_key=host_key, by=by)

    def doubt(self, node: str, host_key: str, shown: str) -> None:
        """Note that the node's console shows another key than this one, which was claimed."""
        self._note("doubted", node, host_key=host_key, shown=shown)

    def _note(self, kind: str, node: str, **more: Any) -> None:
        line = {"at": round(time.time(), 3), "kind": kind, "node": node, **more}
        append_line(self.path, json.dumps(line, sort_keys=True), durable=True)
        self._take(line)

    def _take(self, line: Mapping[str, Any]) -> None:
        kind, node = line["kind"], str(line["node"])
        if kind == "armed":
            self.nodes[node] = Standing(str(line["mac"]), str(line["token"]))
            return
        standing = self.nodes[node]
        key = str(line["host_key"])
        if kind == "claimed" and key not in standing.claims:
            standing.claims.append(key)
        elif kind == "accepted":
            standing.accepted = key
        elif kind == "doubted":
            standing.doubted = True

    def _tokens(self) -> dict[str, Token]:
        try:
            body = json.loads((self.folder / "tokens.json").read_text(encoding="utf-8"))
            return {mac: Token(**one) for mac, one in body.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError) as error:
            raise fail("bad-tokens", f"the tokens of the open window cannot be read: {error}",
                       where=str(self.folder / "tokens.json"),
                       hint="remove the file; nodes then get new ones") from error  # fmt: skip


class _Lock(FileLock):
    def __enter__(self) -> Self:
        try:
            super().__enter__()
        except Held as held:
            raise fail("locked", "the rack is being enrolled already", where=str(self.path),
                       hint=f"by process {held.holder.get('pid')}; the lock ends with it"
                       ) from held  # fmt: skip
        return self


def book_of(rack: str) -> Book:
    """The book of a rack by its name.

    Raises:
        HoldfastError: it is damaged before its last line.
    """
    return Book(state_home() / "enrolment" / rack)


def _lines(path: Path) -> list[dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    try:
        return [json.loads(line) for line in text.splitlines()]
    except ValueError as error:
        raise fail("book-damaged", f"what was enrolled cannot be read: {error}", where=str(path),
                   hint="move the file away; nodes then have to claim again"
                   ) from error  # fmt: skip
