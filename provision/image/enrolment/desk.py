"""Judges claims: who gets an identity, and who does not."""

from __future__ import annotations

import hmac
import json
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from provision.core.exitcodes import ExitCode
from provision.core.problems import fail
from provision.image.enrolment.book import Book, Token
from provision.image.enrolment.program import (
    CLAIM,
    IDENTITY,
    MAC,
    NAMESPACE,
    canonical,
    proof,
)
from provision.rack import formats

MOST_BYTES = 8192
"""The longest claim: an RSA key of 16,384 bits fits three times."""
_KEYS = {"schema", "mac", "nonce", "host_key"}


class Refusal(Exception):
    """A claim that is not answered: a short word, and why in words that tell a stranger nothing."""

    def __init__(self, code: str, why: str) -> None:
        super().__init__(why)
        self.code = code


@dataclass(frozen=True)
class Given:
    """What a node is given beside its name: the account that `up` logs in with, and its keys."""

    user: str
    login_keys: tuple[str, ...]


@dataclass(frozen=True)
class Signer:
    """The key that signs answers: a private SSH key, or a public one whose other half an agent has.

    Raises (when it signs):
        HoldfastError: it cannot be used (exit code 2).
    """

    key: Path

    def sign(self, text: str) -> str:
        """The signature of `text`, as `ssh-keygen -Y verify` takes it."""
        done = subprocess.run(
            ["ssh-keygen", "-q", "-Y", "sign", "-f", self.key, "-n", NAMESPACE],
            input=text, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["ssh-keygen said nothing"])[-1]
            raise fail("bad-key", f"nothing can be signed with it: {last}", where=str(self.key),
                       hint="`ssh-keygen -t ed25519 -f FILE` makes one",
                       exit_code=ExitCode.USAGE)  # fmt: skip
        return done.stdout


class Desk:
    """Answers claims, one at a time.

    Args:
        book: where claims are noted before they are answered.
        tokens: the tokens of the window, by MAC.
        given: what each node is given, by its name.
        signer: what signs the answers.
        says: told of each claim and refusal, with the address that it came from.
        clock: Unix seconds.
    """

    def __init__(
        self,
        book: Book,
        tokens: Mapping[str, Token],
        given: Mapping[str, Given],
        signer: Signer,
        *,
        says: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.book = book
        self.tokens = tokens
        self.given = given
        self.signer = signer
        self.says = says
        self.clock = clock
        self._lock = threading.Lock()

    @property
    def waiting(self) -> list[str]:
        """The nodes that have not claimed yet."""
        names = (token.node for token in self.tokens.values())
        return sorted(name for name in names if not self.book.nodes[name].claims)

    def answer(self, body: bytes, address: str) -> dict[str, str]:
        """The signed identity for a claim; `address` is where it came from.

        Raises:
            Refusal: there is none for it.
        """
        try:
            claim, shown = _parsed(body)
            token = self._proven(claim, shown)
            with self._lock:
                self._note(token.node, claim["host_key"], address)
        except Refusal as refusal:
            self.says(f"refused a claim from {address}: {refusal}")
            raise
        mine = self.given[token.node]
        identity = {
            "schema": IDENTITY,
            "node": token.node,
            "mac": claim["mac"],
            "nonce": claim["nonce"],
            "host_key": claim["host_key"],
            "user": mine.user,
            "login_keys": list(mine.login_keys),
        }
        text = canonical(identity)
        return {"answer": text, "signature": self.signer.sign(text)}

    def _proven(self, claim: Mapping[str, str], shown: str) -> Token:
        token = self.tokens.get(claim["mac"])
        if token is None:
            raise Refusal("unknown", f"no node with the MAC {claim['mac']} is awaited")
        if not hmac.compare_digest(proof(token.secret, claim), shown):
            raise Refusal("unproven", f"the claim for {claim['mac']} has not the right token")
        if self.clock() >= token.until:
            raise Refusal("late", "the time for claims is over")
        return token

    def _note(self, node: str, key: str, address: str) -> None:
        standing = self.book.nodes[node]
        for name, other in self.book.nodes.items():
            if name != node and key in (*other.claims, other.accepted):
                raise Refusal("shared", f"{name} has the host key that was claimed for {node}")
        if standing.claimed == key:
            return  # it asks again, because the answer was lost
        first = not standing.claims
        if not standing.contested:
            # A second key is noted too: from then on neither is the node's, and a third one or a
            # thousandth would only make the book longer.
            self.book.claim(node, key, address)
        if not first:
            raise Refusal("used", f"the token of {node} was used for another host key before")
        self.says(f"{node} claimed its identity from {address}")


def _parsed(body: bytes) -> tuple[dict[str, str], str]:
    wrong = Refusal("malformed", "this is no claim")
    try:
        found: Any = json.loads(body)
        claim, shown = found["claim"], found["proof"]
        whole = (
            isinstance(claim, dict)
            and set(found) == {"claim", "proof"}
            and set(claim) == _KEYS
            and all(isinstance(value, str) for value in (*claim.values(), shown))
            and claim["schema"] == CLAIM
            and MAC.fullmatch(claim["mac"]) is not None
            and len(claim["nonce"]) == len(shown) == 64
            and not set(claim["nonce"] + shown) - set("0123456789abcdef")
            and formats.host_key(claim["host_key"]) == claim["host_key"]
        )
    except (ValueError, TypeError, KeyError, RecursionError):
        raise wrong from None
    if not whole:
        raise wrong
    return claim, shown
