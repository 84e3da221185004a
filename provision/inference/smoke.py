"""Asks every serving node a question, and shows that it refuses what it must refuse.

Run from the controller over the network, as a user's program would be: what counts is what comes
out of the socket.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from provision.core.events import Event, EventSink
from provision.core.problems import HoldfastError
from provision.inference.client import (
    Completion,
    Endpoint,
    Garbled,
    Refused,
    Silent,
    complete,
    get,
    plain_http,
    post,
)
from provision.rack.model import Node, Rack
from provision.rack.secrets import read_secret
from provision.verdict.model import Finding, Severity, Status

PROMPT = "Who owns this rack?"
TOKENS = 24
"""Tokens that an answer may have; enough to see a rate, few enough for a slow CPU."""
ANSWER_S = 60.0
AT_ONCE = 32
_SHOWN = 160

CHECKS = ("inference.answers", "inference.refuses_wrong_key", "inference.refuses_plain_http")
"""The checks of which every serving node gets a finding."""

_ABOUT = {
    "inference.answers": (
        "A prompt from the network gets a streamed answer",
        f"HTTPS by the declared authority, /health 200, and at most {TOKENS} tokens as a stream",
        Severity.CRITICAL,
        "look at `journalctl -u holdfast-inference` on the node; see that allow_from has us",
        "the prompt is answered over TLS that the declared authority vouches for",
    ),
    "inference.refuses_wrong_key": (
        "A wrong key, and no key, get nothing",
        "status 401 to both",
        Severity.CRITICAL,
        "stop the service: it answers strangers; then run `holdfast up` for this node",
        "the endpoint answers 401 to a wrong key and to none",
    ),
    "inference.refuses_plain_http": (
        "Without TLS there is no answer",
        "the port hangs up, or says that it wants TLS",
        Severity.CRITICAL,
        "stop the service: keys cross the network in the clear; then run `holdfast up`",
        "the port gives no HTTP answer without TLS",
    ),
}

Outcome = tuple[Status, str]


def smoke(rack: Rack, events: EventSink, *, timeout_s: float = 10.0) -> list[Finding]:
    """The three findings of every serving node of `rack`, all nodes together.

    Args:
        rack: the nodes; those without inference are passed over.
        events: is told about every finding.
        timeout_s: how long a connection to a node of patience 1 may stay silent, in seconds.
    """
    nodes = [n for n in rack.nodes if n.inference is not None]
    if not nodes:
        return []
    with ThreadPoolExecutor(max_workers=min(AT_ONCE, len(nodes))) as pool:
        found = list(
            pool.map(lambda n: ask(n, rack.folder, timeout_s=timeout_s * n.patience), nodes)
        )
    whole = [finding for own in found for finding in own]
    for finding in whole:
        data = {"check": finding.check, "status": finding.status.value}
        events.emit(Event("verify.finding", node=finding.node, data=data))
    return whole


def ask(node: Node, base: Path, *, timeout_s: float = 10.0) -> list[Finding]:
    """The findings of one node; nothing that it does raises.

    Args:
        node: a node with inference.
        base: the folder that references to secrets start from.
        timeout_s: how long a connection may stay silent, in seconds.
    """
    try:
        endpoint, key = _access(node, base, timeout_s)
    except HoldfastError as error:
        why = " ".join(str(error).split())
        return [_finding(node, check, (Status.UNKNOWN, why), 0.0) for check in CHECKS]
    tests: dict[str, Callable[[], Outcome]] = {
        "inference.answers": lambda: _answers(endpoint, key, ANSWER_S * node.patience),
        "inference.refuses_wrong_key": lambda: _refuses_wrong_key(endpoint),
        "inference.refuses_plain_http": lambda: _refuses_plain_http(endpoint),
    }
    found = []
    for check in CHECKS:
        started = time.monotonic()
        outcome = _outcome(tests[check], lost=check == "inference.answers")
        finding = _finding(node, check, outcome, time.monotonic() - started)
        # A service may send back what it was sent; the key must not reach a report.
        found.append(replace(finding, seen=finding.seen.replace(key, "(the key)")))
    return found


def _access(node: Node, base: Path, timeout_s: float) -> tuple[Endpoint, str]:
    assert node.inference is not None
    assert node.api_key is not None
    assert node.tls_ca is not None
    authority = read_secret(node.tls_ca, base, private=False)
    names = tuple(dict.fromkeys((node.address, node.name)))
    endpoint = Endpoint(node.address, node.inference.port, names, authority, timeout_s)
    return endpoint, read_secret(node.api_key, base)


def _outcome(test: Callable[[], Outcome], *, lost: bool) -> Outcome:
    """What a test came to.

    A refusal or a garbled answer fails the check that wants an answer (`lost`); for one that
    wants a refusal of its own kind it shows nothing, so that is unknown.
    """
    worse = Status.FAIL if lost else Status.UNKNOWN
    try:
        return test()
    except Silent as error:
        return Status.UNKNOWN, str(error)
    except (Refused, Garbled) as error:
        return worse, str(error)
    except ValueError as error:  # the authority, or the key, is not what such a thing looks like
        return Status.UNKNOWN, f"{type(error).__name__}: the declared authority or key is unusable"
    except OSError as error:
        return Status.UNKNOWN, f"{type(error).__name__}: {error}"


def _answers(endpoint: Endpoint, key: str, limit_s: float) -> Outcome:
    status, _ = get(endpoint, "/health")
    if status != 200:
        return Status.FAIL, f"/health gives {status}"
    answer = complete(endpoint, key, PROMPT, TOKENS, limit_s)
    if answer.pieces > TOKENS + 8:  # one piece may be the role, or what ends the stream
        return Status.FAIL, f"{answer.pieces} pieces came, {TOKENS} tokens were asked for"
    return Status.PASS, _shown(answer)


def _shown(answer: Completion) -> str:
    text = " ".join(answer.text.split())
    text = text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
    return (
        f"{PROMPT}\n“{text}”\n{answer.pieces} tokens in {answer.seconds:.2f} s, "
        f"the first after {answer.first_s:.2f} s"
    )


def _refuses_wrong_key(endpoint: Endpoint) -> Outcome:
    body = {"messages": [{"role": "user", "content": PROMPT}], "max_tokens": 1}
    said = []
    for name, key in (("a wrong key", secrets.token_urlsafe(32)), ("no key", None)):
        status, _ = post(endpoint, "/v1/chat/completions", body, key)
        said.append((f"{name}: {status}", status))
    seen = ", ".join(text for text, _ in said)
    statuses = [status for _, status in said]
    if statuses == [401, 401]:
        return Status.PASS, seen
    # Neither an answer nor a refusal: what a right key would have got is not known.
    if any(s < 400 for s in statuses) or all(400 <= s < 500 for s in statuses):
        return Status.FAIL, seen
    return Status.UNKNOWN, seen


def _refuses_plain_http(endpoint: Endpoint) -> Outcome:
    line = plain_http(endpoint, "/health")
    if line is None:
        return Status.PASS, "the port hangs up"
    words = line.split()
    if len(words) > 1 and words[1] in ("400", "426"):
        return Status.PASS, f"the port refuses: {line}"
    return Status.FAIL, f"the port answers: {line}"


def _finding(node: Node, check: str, outcome: Outcome, seconds: float) -> Finding:
    title, expected, severity, action, clears = _ABOUT[check]
    status, seen = outcome
    good = status is Status.PASS
    return Finding(
        node=node.name,
        check=check,
        title=title,
        status=status,
        expected=expected,
        seen=seen,
        severity=severity,
        action="" if good else action,
        clears="" if good else clears,
        seconds=round(seconds, 4),
    )
