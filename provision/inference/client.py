"""A small client for an OpenAI-compatible endpoint over TLS, standard library only.

The certificate must be signed by the authority given, and be for the node's name or address. The
key goes into one header of one request; nothing here logs, prints or keeps it.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import time
from dataclasses import dataclass, field
from typing import Any

MOST_BYTES = 1 << 20
"""Bytes of an answer that are read at most."""
# OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH.
_MISMATCH = (62, 64)


class Silent(Exception):
    """Nothing was heard: the network, or whatever stands between, gave no answer."""


class Refused(Exception):
    """The node answered, and not with a service: the port is closed, or TLS cannot be trusted."""


class Garbled(Exception):
    """The service answered with something that the protocol does not know."""


@dataclass(frozen=True)
class Endpoint:
    """Where a node serves. `names` are what its certificate may be for, in this order."""

    address: str
    port: int
    names: tuple[str, ...]
    authority: str = field(repr=False)
    timeout_s: float = 10.0


@dataclass(frozen=True)
class Completion:
    """What came of a prompt: the text, how many pieces it came in, and how long it took."""

    text: str
    pieces: int
    seconds: float
    first_s: float
    finished: str


def connect(endpoint: Endpoint) -> http.client.HTTPSConnection:
    """An open connection whose certificate was verified.

    Raises:
        Silent: no connection came to be.
        Refused: the port is closed, or the certificate is not to be trusted.
    """
    problem: ssl.SSLCertVerificationError | None = None
    for name in endpoint.names:
        try:
            return _connect(endpoint, name)
        except ssl.SSLCertVerificationError as error:
            problem = error
            if error.verify_code not in _MISMATCH:
                break
    assert problem is not None
    raise Refused(f"its certificate is not trusted: {problem.verify_message}") from problem


def _connect(endpoint: Endpoint, name: str) -> http.client.HTTPSConnection:
    context = ssl.create_default_context(cadata=endpoint.authority)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    plain = dial(endpoint)
    try:
        secure = context.wrap_socket(plain, server_hostname=name)
    except ssl.SSLCertVerificationError:
        plain.close()
        raise
    except TimeoutError as error:
        plain.close()
        raise Refused(f"no TLS handshake within {endpoint.timeout_s:g} s") from error
    except OSError as error:
        plain.close()
        raise Refused(f"no TLS handshake: {_words(error)}") from error
    connection = http.client.HTTPSConnection(name, endpoint.port, timeout=endpoint.timeout_s)
    connection.sock = secure
    return connection


def dial(endpoint: Endpoint) -> socket.socket:
    """An open TCP connection.

    Raises:
        Silent: nothing answered in time, or there is no way there.
        Refused: the node says that the port is closed.
    """
    try:
        return socket.create_connection(
            (endpoint.address, endpoint.port), timeout=endpoint.timeout_s
        )
    except ConnectionRefusedError as error:
        raise Refused(f"port {endpoint.port} is closed") from error
    except TimeoutError as error:
        raise Silent(
            f"no answer from {endpoint.address} within {endpoint.timeout_s:g} s"
        ) from error
    except OSError as error:
        raise Silent(f"{endpoint.address} cannot be reached: {_words(error)}") from error


def get(endpoint: Endpoint, path: str, key: str | None = None) -> tuple[int, str]:
    """Status and body of a GET.

    Raises:
        Silent, Refused, Garbled: as their classes say.
    """
    return _request(endpoint, "GET", path, None, key)


def post(
    endpoint: Endpoint, path: str, body: dict[str, Any], key: str | None = None
) -> tuple[int, str]:
    """Status and body of a POST of JSON.

    Raises:
        Silent, Refused, Garbled: as their classes say.
    """
    return _request(endpoint, "POST", path, body, key)


def _request(
    endpoint: Endpoint, method: str, path: str, body: dict[str, Any] | None, key: str | None
) -> tuple[int, str]:
    connection = connect(endpoint)
    try:
        response = _send(connection, method, path, body, key)
        return response.status, response.read(MOST_BYTES).decode("utf-8", "replace")
    except TimeoutError as error:
        raise Garbled(f"{path} gave no answer within {endpoint.timeout_s:g} s") from error
    except (OSError, http.client.HTTPException) as error:
        raise Garbled(f"{path} broke off: {_words(error)}") from error
    finally:
        connection.close()


def _send(
    connection: http.client.HTTPSConnection,
    method: str,
    path: str,
    body: dict[str, Any] | None,
    key: str | None,
) -> http.client.HTTPResponse:
    headers = {"User-Agent": "holdfast", "Accept": "*/*"}
    if body is not None:
        headers["Content-Type"] = "application/json"
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    data = None if body is None else json.dumps(body).encode()
    connection.request(method, path, body=data, headers=headers)
    return connection.getresponse()


def complete(endpoint: Endpoint, key: str, prompt: str, most: int, limit_s: float) -> Completion:
    """The streamed answer to a prompt, of at most `most` tokens, within `limit_s` seconds.

    Raises:
        Silent, Refused: as their classes say.
        Garbled: the status is not 200, or the stream is not one of chat completion pieces that
            ends as it should.
    """
    body = {
        "model": "default",
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": most,
        "temperature": 0,
        "stream": True,
    }
    connection = connect(endpoint)
    started = time.monotonic()
    try:
        response = _send(connection, "POST", "/v1/chat/completions", body, key)
        if response.status != 200:
            raise Garbled(f"the prompt was answered with status {response.status}")
        kind = response.headers.get_content_type()
        if kind != "text/event-stream":
            raise Garbled(f"the prompt was answered with {kind}, not with a stream")
        return _stream(response, started, limit_s)
    except TimeoutError as error:
        raise Garbled(f"the stream stopped for {endpoint.timeout_s:g} s") from error
    except (OSError, http.client.HTTPException) as error:
        raise Garbled(f"the stream broke off: {_words(error)}") from error
    finally:
        connection.close()


def _stream(response: http.client.HTTPResponse, started: float, limit_s: float) -> Completion:
    texts: list[str] = []
    first = 0.0
    finished = ""
    size = 0
    while line := response.readline(MOST_BYTES + 1):
        size += len(line)
        if size > MOST_BYTES:
            raise Garbled(f"the stream is longer than {MOST_BYTES} bytes")
        if time.monotonic() - started > limit_s:
            raise Garbled(f"the stream did not end within {limit_s:g} s")
        text = line.decode("utf-8", "replace").strip()
        if not text or text.startswith(":"):  # SSE: a blank line ends an event, `:` is a comment
            continue
        name, _, value = text.partition(":")
        if name != "data":
            raise Garbled(f"the stream holds {text[:60]!r}")
        if value.strip() == "[DONE]":
            break
        piece, reason = _piece(value)
        finished = reason or finished
        if piece:
            first = first or time.monotonic() - started
            texts.append(piece)
    if not finished:
        raise Garbled("the stream ended without a reason to finish")
    if not texts:
        raise Garbled("the stream ended without any text")
    return Completion("".join(texts), len(texts), time.monotonic() - started, first, finished)


def _piece(value: str) -> tuple[str, str]:
    """Text and finish reason of one event."""
    try:
        told = json.loads(value)
        if told.get("object") != "chat.completion.chunk":
            raise Garbled(f"the stream holds {value.strip()[:60]!r}")
        if not told["choices"]:  # the last event may hold only what was used
            return "", ""
        choice = told["choices"][0]
        delta = choice["delta"]
        # A model that reasons aloud sends its thoughts beside its answer.
        text = delta.get("content") or delta.get("reasoning_content") or ""
        return str(text), str(choice.get("finish_reason") or "")
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise Garbled(f"the stream holds {value.strip()[:60]!r}") from error


def plain_http(endpoint: Endpoint, path: str) -> str | None:
    """What the port answers to HTTP without TLS: its first line, or None when it hangs up.

    Raises:
        Silent, Refused: as their classes say.
        Garbled: neither an answer nor an end came.
    """
    connection = dial(endpoint)
    try:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: holdfast\r\n\r\n".encode())
        head = connection.recv(4096)
    except TimeoutError as error:
        raise Garbled(f"it neither answers nor hangs up in {endpoint.timeout_s:g} s") from error
    except ConnectionError:
        return None
    finally:
        connection.close()
    if not head.startswith(b"HTTP/"):  # nothing, or a TLS alert
        return None
    return head.split(b"\r\n", 1)[0].decode("ascii", "replace")


def _words(error: BaseException) -> str:
    said = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(said)
