"""The smoke test against servers that behave, and servers that do not."""

from __future__ import annotations

import http.server
import json
import socket
import ssl
import subprocess
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from provision.core.events import ListSink
from provision.inference import client, smoke
from provision.rack.model import Inference
from provision.verdict.model import Status
from tests.unit import checks_support as support

KEY = "the-right-key-0123456789"


def chunk(text: str, finish: str | None = None) -> str:
    told = {
        "object": "chat.completion.chunk",
        "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}],
    }
    return f"data: {json.dumps(told)}\n\n"


GOOD = (
    chunk("We own ") + ": ping\n\n" + chunk("this rack.") + chunk("", "stop") + "data: [DONE]\n\n"
)


@dataclass
class Behaviour:
    stream: str = GOOD
    status: int = 200
    kind: str = "text/event-stream"
    health: int = 200
    any_key: bool = False
    refusal: int = 401
    delay_s: float = 0.0
    echo_key: bool = False


class Handler(http.server.BaseHTTPRequestHandler):
    behaviour: Behaviour

    def do_GET(self):
        self.answer(self.behaviour.health, "application/json", "{}")

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        told = self.behaviour
        if self.headers.get("Authorization") != f"Bearer {KEY}" and not told.any_key:
            return self.answer(told.refusal, "application/json", '{"error": "no"}')
        time.sleep(told.delay_s)
        text = told.stream
        if told.echo_key:
            text = chunk(self.headers["Authorization"]) + chunk("", "stop")
        return self.answer(told.status, told.kind, text)

    def answer(self, status: int, kind: str, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass


@pytest.fixture(scope="module")
def tls(tmp_path_factory) -> Path:
    """An authority, and a certificate for 127.0.0.1 that it signed; beside it a stranger's."""
    folder = tmp_path_factory.mktemp("tls")

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    new = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    # Python 3.13 wants of an authority that it says what its key is for, and of a certificate
    # whose key signed it.
    use = ("-addext", "keyUsage=critical,keyCertSign,cRLSign")
    for name in ("ca", "other"):
        openssl(*new, *use, "-days", "2", "-subj", f"/CN={name}", "-keyout", f"{name}.key",
                "-out", f"{name}.pem")  # fmt: skip
    for name, alt in (("cert", "IP:127.0.0.1"), ("named", "DNS:n1"), ("wrong", "DNS:n2")):
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-subj", f"/CN={name}", "-keyout", f"{name}.key",
                "-out", f"{name}.csr")  # fmt: skip
        (folder / "ext").write_text(f"subjectAltName={alt}\nauthorityKeyIdentifier=keyid\n")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
                "-CAcreateserial", "-days", "2", "-extfile", "ext",
                "-out", f"{name}.pem")  # fmt: skip
    (folder / "api-key").write_text(KEY + "\n")
    (folder / "api-key").chmod(0o600)
    return folder


@contextmanager
def serving(tls: Path, behaviour: Behaviour, cert: str | None = "cert"):
    handler = type("Own", (Handler,), {"behaviour": behaviour})
    server = Server(("127.0.0.1", 0), handler)
    if cert is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls / f"{cert}.pem", tls / f"{cert}.key")
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


def asked(tls: Path, port: int, ca: str = "ca") -> dict[str, tuple[Status, str]]:
    node = support.node(
        "n1",
        inference=Inference(
            engine="llama_cpp", model="tiny", image="i", port=port, allow_from=("192.0.2.0/24",)
        ),
        tls_ca=support.SecretRef("file", f"{ca}.pem"),
    )
    found = smoke.ask(node, tls, timeout_s=1.0)
    assert [f.check for f in found] == list(smoke.CHECKS)
    assert not any(KEY in json.dumps(f.to_json()) for f in found)
    return {f.check.removeprefix("inference."): (f.status, f.seen) for f in found}


def test_a_good_server_passes_all(tls):
    with serving(tls, Behaviour()) as port:
        found = asked(tls, port)
    assert {s for s, _ in found.values()} == {Status.PASS}, found
    assert "We own this rack." in found["answers"][1]
    assert "2 tokens" in found["answers"][1]


def test_a_certificate_for_the_node_s_name_is_good_too(tls):
    with serving(tls, Behaviour(), "named") as port:
        assert asked(tls, port)["answers"][0] is Status.PASS


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        (Behaviour(stream="\x00\xff garbage\n\n"), "the stream holds"),
        (Behaviour(stream="data: {}\n\n"), "the stream holds"),
        (Behaviour(stream="data: [1]\n\n"), "the stream holds"),
        (Behaviour(stream="data: not json\n\n"), "the stream holds"),
        (Behaviour(stream=chunk("half")), "without a reason"),
        (Behaviour(stream=chunk("", "stop") + "data: [DONE]\n\n"), "without any text"),
        (Behaviour(stream=""), "without a reason"),
        (Behaviour(stream=chunk("x") * 100 + chunk("", "length")), "100 pieces"),
        (Behaviour(stream=chunk("x" * 2_000_000)), "longer than"),
        (Behaviour(status=500), "status 500"),
        (Behaviour(kind="application/json"), "not with a stream"),
        (Behaviour(health=503), "/health gives 503"),
        (Behaviour(delay_s=2.0), "stopped for 1 s"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_what_is_no_answer_fails(tls, behaviour, words):
    with serving(tls, behaviour) as port:
        status, seen = asked(tls, port)["answers"]
    assert (status, words in seen) == (Status.FAIL, True), seen


def test_a_server_that_accepts_any_key_fails(tls):
    with serving(tls, Behaviour(any_key=True)) as port:
        found = asked(tls, port)
    assert found["refuses_wrong_key"] == (Status.FAIL, "a wrong key: 200, no key: 200")
    assert found["answers"][0] is Status.PASS


@pytest.mark.parametrize(("code", "status"), [(403, Status.FAIL), (500, Status.UNKNOWN)])
def test_another_refusal_is_no_pass(tls, code, status):
    with serving(tls, Behaviour(refusal=code)) as port:
        assert asked(tls, port)["refuses_wrong_key"][0] is status


def test_a_server_without_tls_fails(tls):
    with serving(tls, Behaviour(), None) as port:
        found = asked(tls, port)
    assert found["refuses_plain_http"] == (Status.FAIL, "the port answers: HTTP/1.0 200 OK")
    assert found["answers"][0] is Status.FAIL
    assert found["refuses_wrong_key"][0] is Status.UNKNOWN


def test_a_server_of_another_authority_fails_and_never_sees_the_key(tls):
    with serving(tls, Behaviour()) as port:
        found = asked(tls, port, ca="other")
    assert found["answers"][0] is Status.FAIL
    assert "not trusted" in found["answers"][1]


def test_a_certificate_for_another_node_fails(tls):
    with serving(tls, Behaviour(), "wrong") as port:
        status, seen = asked(tls, port)["answers"]
    assert (status, "not trusted" in seen) == (Status.FAIL, True), seen


def test_a_closed_port_fails_the_answer_and_shows_nothing_else(tls):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        found = asked(tls, free.getsockname()[1])
    assert found["answers"][0] is Status.FAIL
    assert "closed" in found["answers"][1]
    assert {found[c][0] for c in ("refuses_wrong_key", "refuses_plain_http")} == {Status.UNKNOWN}


def test_a_port_that_never_answers_passes_nothing(tls):
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        found = asked(tls, mute.getsockname()[1])
    assert found["answers"][0] is Status.FAIL
    assert {found[c][0] for c in ("refuses_wrong_key", "refuses_plain_http")} == {Status.UNKNOWN}


def test_silence_of_the_network_is_unknown(tls, monkeypatch):
    def silent(*args, **more):
        raise TimeoutError

    monkeypatch.setattr(socket, "create_connection", silent)
    assert {s for s, _ in asked(tls, 1).values()} == {Status.UNKNOWN}


def test_a_secret_that_cannot_be_read_is_unknown(tls):
    assert {s for s, _ in asked(tls, 1, ca="absent").values()} == {Status.UNKNOWN}


def test_an_authority_that_is_none_is_unknown(tls):
    (tls / "junk.pem").write_text("no certificate\n")
    with serving(tls, Behaviour()) as port:
        found = asked(tls, port, ca="junk")
    assert found["answers"][0] is Status.UNKNOWN, found


def test_the_key_is_never_shown(tls):
    with serving(tls, Behaviour(echo_key=True)) as port:
        assert "(the key)" in asked(tls, port)["answers"][1]


def test_all_serving_nodes_are_asked_and_no_other(tls, tmp_path):
    with serving(tls, Behaviour()) as port:
        declared = Inference(
            engine="llama_cpp", model="tiny", image="i", port=port, allow_from=("192.0.2.0/24",)
        )
        nodes = [support.node(f"n{i}", inference=declared) for i in range(3)]
        nodes.append(support.node("head", inference=None))
        events = ListSink()
        found = smoke.smoke(support.rack(tls, *nodes), events, timeout_s=2.0)
    assert [f.node for f in found] == [n for n in ("n0", "n1", "n2") for _ in smoke.CHECKS]
    assert {f.status for f in found} == {Status.PASS}
    assert len(events.seen) == 9


def test_a_stream_is_read_by_its_pieces():
    assert client._piece(chunk("a", "stop").removeprefix("data: ")) == ("a", "stop")
    usage = '{"object": "chat.completion.chunk", "choices": []}'
    assert client._piece(usage) == ("", "")
