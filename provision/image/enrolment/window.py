"""A window in which nodes may claim: opened for some of a rack's nodes, closed when all have."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from provision.core.exitcodes import ExitCode
from provision.core.files import write_whole
from provision.core.problems import HoldfastError, Problem, fail
from provision.image.enrolment.book import Book, Standing, Token
from provision.image.enrolment.desk import Given
from provision.image.enrolment.program import TOKEN, USER, file_name, fingerprint
from provision.rack import formats
from provision.rack.hostkeys import has_key, with_key
from provision.rack.model import Node, Rack

LOOK_S = 0.5


@dataclass(frozen=True)
class Place:
    """Where nodes claim, and the folder of the HTTP server in which they find their tokens."""

    url: str
    tokens: Path


def awaited(rack: Rack, book: Book, chosen: Sequence[str] | None) -> list[Node]:
    """The nodes that are to claim: those chosen, else all that are neither known nor have claimed.

    Raises:
        HoldfastError: with a problem for each that cannot (exit code 2).
    """
    known = known_hosts(rack)
    if chosen is not None:
        nodes = [node for node in rack.nodes if node.name in chosen]
    else:
        nodes = [
            node
            for node in rack.nodes
            if not node.host_keys
            and not has_key(known, node.address, node.port)
            and not book.nodes.get(node.name, Standing("")).claimed
        ]
    problems = [problem for node in nodes for problem in _wrong(rack, node)]
    if rack.known_hosts is None:
        hint = "add `holdfast_known_hosts: known_hosts` to `vars` of group `all`"
        problems.insert(0, Problem("missing-variable", "accepted host keys have nowhere to go",
                                   where=str(rack.path), hint=hint))  # fmt: skip
    if problems:
        raise HoldfastError(problems, ExitCode.USAGE)
    return nodes


def _wrong(rack: Rack, node: Node) -> Iterator[Problem]:
    del rack
    if node.mac is None:
        yield Problem("missing-mac", "nobody says which network card it starts from",
                      where=node.name, hint="add `holdfast_mac`")  # fmt: skip
    if node.host_keys:
        yield Problem("has-key", "the inventory declares its host key", where=node.name,
                      hint="take holdfast_host_keys out where its key changes")  # fmt: skip
    if node.user is None or not USER.fullmatch(node.user) or node.user == "root":
        yield Problem("bad-user", "it needs an account to log in with, which is not root's",
                      where=node.name, hint="set ansible_user, as in ansible_user: robot"
                      )  # fmt: skip


def given(nodes: Sequence[Node], login_key: Path | None) -> Mapping[str, Given]:
    """What each node is given: its account, and the key that logs in there.

    Args:
        nodes: the nodes that are to claim.
        login_key: a public key; None takes the one beside each node's private key.

    Raises:
        HoldfastError: there is none, or it is no public key (exit code 2).
    """
    return {node.name: Given(str(node.user), (_login(node, login_key),)) for node in nodes}


def _login(node: Node, path: Path | None) -> str:
    if path is None and node.private_key is not None:
        path = Path(f"{node.private_key}.pub").expanduser()
    hint = "name the public key that logs in with --login-key"
    if path is None:
        raise fail("no-key", "no key to log in with is known", where=node.name, hint=hint,
                   exit_code=ExitCode.USAGE)  # fmt: skip
    try:
        return formats.host_key(path.read_text(encoding="utf-8").strip())
    except (OSError, ValueError) as error:
        raise fail("no-key", f"this is no public key: {error}", where=str(path), hint=hint,
                   exit_code=ExitCode.USAGE) from error  # fmt: skip


@contextmanager
def open_window(
    book: Book, nodes: Sequence[Node], place: Place, until: float, fresh: Sequence[str] = ()
) -> Iterator[Mapping[str, Token]]:
    """Give the nodes tokens and lay them out; when it ends, none is there and none counts.

    Raises:
        HoldfastError: another window is open, or the tokens' folder cannot be written (exit code
            2).
    """
    with book.lock():
        tokens = book.arm({node.name: str(node.mac) for node in nodes}, until, fresh)
        files = {place.tokens / file_name(mac): one for mac, one in tokens.items()}
        try:
            place.tokens.mkdir(parents=True, exist_ok=True)
            for path, token in files.items():
                body = {"schema": TOKEN, "url": place.url, "token": token.secret}
                write_whole(path, json.dumps(body) + "\n")
            yield tokens
        except OSError as error:
            raise fail("unwritable", f"{place.tokens} cannot be written: {error.strerror}",
                       where="--tokens", exit_code=ExitCode.USAGE) from error  # fmt: skip
        finally:
            # First what makes them count: a file that cannot be removed is then of no use.
            book.disarm()
            for path in files:
                path.unlink(missing_ok=True)


def wait_until(done: Callable[[], bool], until: float) -> bool:
    """Wait for `done`, at most until a time in Unix seconds; whether it came."""
    while not done():
        if time.time() >= until:
            return False
        time.sleep(LOOK_S)
    return True


def known_hosts(rack: Rack) -> str:
    """The text of the rack's known_hosts file; empty where there is none yet.

    Raises:
        HoldfastError: it cannot be read.
    """
    if rack.known_hosts is None:
        return ""
    try:
        return rack.known_hosts.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise fail("unreadable", f"the known host keys cannot be read: {error}",
                   where=str(rack.known_hosts)) from error  # fmt: skip


def accept(rack: Rack, book: Book, shown: Mapping[str, str]) -> list[str]:
    """Let claimed keys become the nodes' keys, where they are the ones that consoles show.

    Args:
        rack: its known_hosts file is written.
        book: where the claims stand.
        shown: fingerprints by node; an empty one takes the claim's word for it.

    Returns:
        The nodes whose key changed.

    Raises:
        HoldfastError: with a problem for each that is not to be accepted; none is then (exit
            code 1).
    """
    problems = [
        Problem(code, why, where=name, hint=hint)
        for name, print_ in shown.items()
        for code, why, hint in _against(book.nodes.get(name), print_)
    ]
    for problem in problems:
        if problem.code == "other-key":
            name = str(problem.where)
            book.doubt(name, str(book.nodes[name].claimed), shown[name])
    if problems:
        raise HoldfastError(problems, ExitCode.FINDINGS)
    if rack.known_hosts is None:
        raise fail("missing-variable", "accepted host keys have nowhere to go",
                   where=str(rack.path), exit_code=ExitCode.USAGE,
                   hint="add `holdfast_known_hosts: known_hosts` to `vars` of group `all`"
                   )  # fmt: skip
    text, changed = known_hosts(rack), []
    for name, print_ in shown.items():
        node, key = rack.node(name), str(book.nodes[name].claimed)
        new = with_key(text, node.address, node.port, key)
        if new != text:
            changed.append(name)
        text = new
        book.accept(name, key, "compared" if print_ else "trusted network")
    write_whole(rack.known_hosts, text)
    return changed


def _against(standing: Standing | None, shown: str) -> Iterator[tuple[str, str, str]]:
    again = "open a window for it once more, with --limit"
    if standing is None or not standing.claims:
        yield "no-claim", "it has claimed no host key", again
    elif standing.contested:
        prints = " and ".join(fingerprint(key) for key in standing.claims)
        yield "contested", f"two host keys were claimed for it: {prints}", again
    elif shown and shown != fingerprint(standing.claims[0]):
        message = f"its console shows another host key than {fingerprint(standing.claims[0])}"
        yield "other-key", message + ", which was claimed", "somebody else claimed: find out who"
    elif not shown and standing.doubted:
        message = "its console showed another host key than the one that was claimed"
        yield "doubted", message, f"compare it once more, or {again}"
