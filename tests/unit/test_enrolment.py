"""A node gets its identity by one claim, and nobody gets one by anything else."""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from provision.cli.inputs import load_rack
from provision.cli.main import main
from provision.core.problems import HoldfastError
from provision.image import sealing
from provision.image.enrolment import program, service, window
from provision.image.enrolment.book import Book, Token
from provision.image.enrolment.desk import Desk, Given, Refusal, Signer
from provision.image.enrolment.planting import planted
from provision.image.enrolment.service import listening

MAC, OTHER_MAC = "52:54:00:12:34:01", "52:54:00:12:34:02"
NONCE = "0123456789abcdef" * 4
LOCK = Path(__file__).resolve().parents[1] / "data/example/stack.lock.json"


def ssh_key(path: Path) -> str:
    """Make an SSH key; its public half without a comment."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", path],
                   check=True)  # fmt: skip
    return " ".join(path.with_suffix(".pub").read_text().split()[:2])


@dataclass
class Bench:
    """An operator's machine with a window open for two nodes, and what a node holds."""

    folder: Path
    book: Book
    desk: Desk
    tokens: dict[str, Token]
    keys: dict[str, str]
    said: list[str] = field(default_factory=list)

    @property
    def signers(self) -> str:
        return str(self.folder / "signers")

    def claim(self, mac: str = MAC, key: str = "n1", nonce: str = NONCE) -> dict[str, str]:
        return {
            "schema": program.CLAIM, "mac": mac, "nonce": nonce, "host_key": self.keys[key],
        }  # fmt: skip

    def body(self, claim: dict[str, Any], token: str | None = None) -> bytes:
        secret = self.tokens[MAC].secret if token is None else token
        shown = program.proof(secret, claim)
        return program.canonical({"claim": claim, "proof": shown}).encode()

    def noted(self) -> list[str]:
        return [json.loads(line)["kind"] for line in self.book.path.read_text().splitlines()]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    folder = tmp_path_factory.mktemp("keys")
    return folder, {name: ssh_key(folder / name) for name in ("sign", "login", "n1", "n2", "evil")}


@pytest.fixture
def bench(tmp_path: Path, made: tuple[Path, dict[str, str]]) -> Bench:
    folder, keys = made
    book = Book(tmp_path / "book")
    tokens = book.arm({"n1": MAC, "n2": OTHER_MAC}, time.time() + 600)
    given = {name: Given("robot", (keys["login"],)) for name in ("n1", "n2")}
    said: list[str] = []
    desk = Desk(book, tokens, given, Signer(folder / "sign"), says=said.append)
    rule = next(one for one in planted([keys["sign"]]) if one.path == program.SIGNERS)
    (tmp_path / "signers").write_text(rule.text)
    return Bench(tmp_path, book, desk, tokens, keys, said)


@pytest.fixture
def url(bench: Bench) -> Iterator[str]:
    with listening(bench.desk, "127.0.0.1", 0) as port:
        yield f"http://127.0.0.1:{port}/"


def test_a_node_claims_its_identity_over_http(bench, url, monkeypatch):
    monkeypatch.setattr(program, "SIGNERS", bench.signers)
    errand = program.Errand(url, bench.tokens[MAC].secret, MAC)
    found = program.claimed_by([replace_mac(errand), errand], bench.keys["n1"], NONCE)
    assert (found["node"], found["user"], found["login_keys"]) == (
        "n1", "robot", [bench.keys["login"]],
    )  # fmt: skip
    assert bench.desk.waiting == ["n2"]
    assert bench.book.nodes["n1"].claimed == bench.keys["n1"]
    assert bench.tokens[MAC].secret not in bench.book.path.read_text()


def replace_mac(errand: program.Errand) -> program.Errand:
    """The same errand for a card that nobody awaits: a node asks for each of its cards."""
    return errand._replace(mac="52:54:00:ff:ff:ff")


def test_the_token_does_not_travel_in_a_claim(bench):
    assert bench.tokens[MAC].secret.encode() not in bench.body(bench.claim())


MALFORMED = {
    "nothing": b"",
    "no JSON": b"{",
    "a list": b"[]",
    "text": b'"claim"',
    "deep": b"[" * 8000,
    "no claim": b'{"proof": "00"}',
    "a claim that is none": b'{"claim": 1, "proof": "00"}',
    "a list of names": b'{"claim": ["schema", "mac", "nonce", "host_key"], "proof": "00"}',
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
def test_what_is_no_claim_is_refused(bench, body):
    refused(bench, body, "malformed")


@pytest.mark.parametrize(
    "change",
    [
        {"schema": "holdfast.claim/2"},
        {"mac": "52:54:00:12:34"},
        {"mac": MAC.upper().replace("52", "5A")},
        {"nonce": "00"},
        {"nonce": "G" * 64},
        {"host_key": "ssh-ed25519 AAAA"},
        {"host_key": "ssh-dss AAAAB3NzaC1kc3MAAACBAP"},
        {"host_key": 'ssh-ed25519 AAAA\nn2 ssh-ed25519 AAAA'},
        {"host_key": ["ssh-ed25519"]},
        {"more": "than a claim"},
    ],
    ids=str,
)  # fmt: skip
def test_a_claim_in_another_form_is_refused(bench, change):
    refused(bench, bench.body({**bench.claim(), **change}), "malformed")


def test_a_host_key_with_a_comment_is_refused(bench):
    claim = {**bench.claim(), "host_key": bench.keys["n1"] + " @cert-authority"}
    refused(bench, bench.body(claim), "malformed")


def test_a_machine_that_nobody_awaits_is_refused(bench):
    refused(bench, bench.body(bench.claim(mac="52:54:00:12:34:99")), "unknown")


@pytest.mark.parametrize("token", ["", "x" * 43])
def test_a_claim_without_the_token_is_refused(bench, token):
    refused(bench, bench.body(bench.claim(), token), "unproven")


def test_a_token_is_of_one_mac(bench):
    """Whoever took one node's token gets no other node's identity with it."""
    claim = bench.claim(mac=OTHER_MAC)
    refused(bench, bench.body(claim, bench.tokens[MAC].secret), "unproven")


@pytest.mark.parametrize("name", ["mac", "nonce", "host_key"])
def test_a_claim_that_was_changed_on_its_way_is_refused(bench, name):
    sent = json.loads(bench.body(bench.claim()))
    other = {"mac": OTHER_MAC, "nonce": "f" * 64, "host_key": bench.keys["evil"]}
    sent["claim"][name] = other[name]
    refused(bench, json.dumps(sent).encode(), "unproven")


def test_a_claim_after_the_time_is_refused(bench):
    bench.desk.clock = lambda: bench.tokens[MAC].until
    refused(bench, bench.body(bench.claim()), "late")


def test_a_token_works_for_one_host_key(bench):
    bench.desk.answer(bench.body(bench.claim()), "192.0.2.11")
    with pytest.raises(Refusal) as caught:
        bench.desk.answer(bench.body(bench.claim(key="evil")), "192.0.2.66")
    assert caught.value.code == "used"
    assert any("192.0.2.66" in line for line in bench.said)
    # A theft is seen: from now on neither key is the node's, not even the first one.
    assert bench.book.nodes["n1"].contested
    refused_again(bench, bench.body(bench.claim()), "used")
    again = Book(bench.book.folder)
    assert again.nodes["n1"].contested


def test_a_host_key_is_of_one_node(bench):
    bench.desk.answer(bench.body(bench.claim()), "192.0.2.11")
    claim = bench.claim(mac=OTHER_MAC, key="n1")
    refused_again(bench, bench.body(claim, bench.tokens[OTHER_MAC].secret), "shared")
    assert bench.book.nodes["n2"].claims == []


def test_the_same_claim_again_changes_nothing(bench):
    """An answer may be lost; whoever else sends the claim again gains a name and public keys."""
    body = bench.body(bench.claim())
    first = bench.desk.answer(body, "192.0.2.11")
    before = bench.book.path.read_text()
    assert bench.desk.answer(body, "192.0.2.66") == first
    assert bench.book.path.read_text() == before
    assert not bench.book.nodes["n1"].contested


def test_a_claim_is_on_the_disk_before_it_is_answered(bench, tmp_path):
    broken = replace_signer(bench, tmp_path / "no-key")
    with pytest.raises(HoldfastError):
        broken.answer(bench.body(bench.claim()), "192.0.2.11")
    assert Book(bench.book.folder).nodes["n1"].claimed == bench.keys["n1"]
    refused_again(bench, bench.body(bench.claim(key="evil")), "used")


def test_a_claim_that_does_not_go_whole_onto_the_disk_is_not_answered(bench):
    """A full disk takes a part of a line and says nothing else."""
    full = (bench.book.path.stat().st_size + 20, resource.RLIM_INFINITY)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, full)
    try:
        with pytest.raises(OSError, match="No space left"):
            bench.desk.answer(bench.body(bench.claim()), "192.0.2.11")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert bench.noted() == ["armed", "armed"]
    bench.desk.answer(bench.body(bench.claim()), "192.0.2.11")
    assert Book(bench.book.folder).nodes["n1"].claimed == bench.keys["n1"]


def replace_signer(bench: Bench, key: Path) -> Desk:
    return Desk(bench.book, bench.tokens, bench.desk.given, Signer(key))


def test_a_stolen_token_makes_the_book_no_longer_than_the_theft(bench, made):
    for key in ("n1", "n2", "evil", "sign", "login"):
        with suppress(Refusal):
            bench.desk.answer(bench.body(bench.claim(key=key)), "192.0.2.66")
    assert bench.noted() == ["armed", "armed", "claimed", "claimed"]
    assert bench.book.nodes["n1"].contested


def refused(bench: Bench, body: bytes, code: str) -> None:
    """A claim is refused with this code, and nothing is noted of it."""
    before = bench.noted()
    refused_again(bench, body, code)
    assert bench.noted() == before
    assert bench.book.nodes["n1"].claims == []


def refused_again(bench: Bench, body: bytes, code: str) -> None:
    with pytest.raises(Refusal) as caught:
        bench.desk.answer(body, "192.0.2.66")
    assert caught.value.code == code


def asked(url: str, raw: bytes) -> bytes:
    """What a server says to these bytes."""
    host, port = url.removeprefix("http://").rstrip("/").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as line:
        line.sendall(raw)
        return b"".join(iter(lambda: line.recv(4096), b""))


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"POST / HTTP/1.0\r\nContent-Length: 99999999\r\n\r\n", b"413"),
        (b"POST / HTTP/1.0\r\nContent-Length: -1\r\n\r\n", b"413"),
        (b"POST / HTTP/1.0\r\n\r\n", b"413"),
        (b"GET /tokens.json HTTP/1.0\r\n\r\n", b"501"),
        (b"POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}", b"403"),
    ],
)
def test_the_service_hears_claims_and_nothing_else(bench, url, raw, status):
    said = asked(url, raw)
    assert said.split()[1] == status
    assert bench.noted() == ["armed", "armed"]


def test_one_that_says_a_byte_now_and_then_is_hung_up_on(bench, url, monkeypatch):
    """A socket's time-out begins anew with each byte, so that such a caller never ran into it."""
    monkeypatch.setattr(service, "_ANSWER_S", 0.3)
    port = int(url[:-1].rpartition(":")[2])
    with (
        socket.create_connection(("127.0.0.1", port)) as line,
        pytest.raises(OSError, match=r"reset|[Bb]roken pipe"),
    ):
        drip(line)


def drip(line: socket.socket) -> None:
    """Send a byte now and then, for some seconds."""
    for _ in range(200):
        line.sendall(b"P")
        time.sleep(0.05)


def test_one_machine_does_not_take_every_seat(bench, url, monkeypatch):
    monkeypatch.setattr(service, "_ANSWER_S", 60.0)
    port = int(url[:-1].rpartition(":")[2])
    with ExitStack() as stack:
        for _ in range(40):
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        node = stack.enter_context(
            socket.create_connection(("127.0.0.1", port), source_address=("127.0.0.2", 0))
        )
        node.settimeout(10)
        node.sendall(b"POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}")
        assert node.recv(4096).split()[1] == b"403"


# What a node takes.


def answer(bench: Bench, **changes: Any) -> tuple[str, str]:
    """An answer to the node's claim, and its signature, with other values in it."""
    found = bench.desk.answer(bench.body(bench.claim()), "192.0.2.11")
    if not changes:
        return found["answer"], found["signature"]
    text = program.canonical({**json.loads(found["answer"]), **changes})
    return text, bench.desk.signer.sign(text)


def test_a_node_takes_an_answer_that_its_images_key_signed(bench):
    found = program.judged(*answer(bench), bench.claim(), bench.signers)
    assert found["node"] == "n1"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"nonce": "f" * 64}, "another nonce"),
        ({"mac": OTHER_MAC}, "another mac"),
        ({"host_key": "ssh-ed25519 AAAA"}, "another host_key"),
        ({"schema": "holdfast.identity/2"}, "no identity"),
        ({"node": "../etc"}, "no identity"),
        ({"node": "n1\n"}, "no identity"),
        ({"user": "root"}, "no identity"),
        ({"user": "robot ALL=(ALL)"}, "no identity"),
        ({"login_keys": []}, "no identity"),
        ({"login_keys": "ssh-ed25519"}, "no identity"),
        ({"login_keys": ['command="x" ssh-ed25519 AAAA']}, "no identity"),
    ],
    ids=str,
)
def test_a_node_takes_no_answer_for_another_claim_and_no_other_thing(bench, changes, why):
    with pytest.raises(program.Refused, match=why):
        program.judged(*answer(bench, **changes), bench.claim(), bench.signers)


def test_a_node_takes_no_answer_that_another_key_signed(bench, made):
    text, _ = answer(bench)
    other = Signer(made[0] / "evil").sign(text)
    with pytest.raises(program.Refused, match="none of the image's keys"):
        program.judged(text, other, bench.claim(), bench.signers)


def test_a_node_takes_no_answer_that_was_changed_or_not_signed(bench):
    text, signature = answer(bench)
    changed = text.replace('"robot"', '"rebel"')
    for one, by in ((changed, signature), (text, ""), (text, "-----BEGIN SSH SIGNATURE-----")):
        with pytest.raises(program.Refused, match="none of the image's keys"):
            program.judged(one, by, bench.claim(), bench.signers)


def test_a_signature_for_anything_else_is_none(bench, made):
    """A key that signs answers may sign commits too; none of those is an identity."""
    text, _ = answer(bench)
    done = subprocess.run(
        ["ssh-keygen", "-q", "-Y", "sign", "-f", made[0] / "sign", "-n", "git"],
        input=text, capture_output=True, text=True, check=True,
    )  # fmt: skip
    with pytest.raises(program.Refused, match="none of the image's keys"):
        program.judged(text, done.stdout, bench.claim(), bench.signers)


EVIL = "holdfast: this node its host key is SHA256:" + "a" * 43


@pytest.mark.parametrize(
    "told",
    [
        {"refused": f"it was late\r\n{EVIL}"},
        {"refused": f"it was late{' ' * 80}{EVIL}"},
        {"refused": f"\x1b[2J{EVIL}"},
    ],
    ids=["a line", "a line that the screen breaks", "an escape"],
)
def test_nobody_in_the_network_puts_a_fingerprint_on_a_nodes_console(told, monkeypatch):
    """The operator compares what stands there with what was claimed."""

    def first(*_: Any) -> dict[str, Any]:
        errand = program.Errand("http://127.0.0.1:9/", "token", MAC)
        monkeypatch.setattr(program, "_http", lambda *_: (403, json.dumps(told).encode()))
        return program.claimed(errand, "ssh-ed25519 " + "A" * 68, NONCE)

    def stop(_: float) -> None:
        raise KeyboardInterrupt

    said: list[str] = []
    monkeypatch.setattr(program, "say", said.append)
    monkeypatch.setattr(program, "host_key", lambda: "ssh-ed25519 " + "A" * 68)
    monkeypatch.setattr(program, "errands", list)
    monkeypatch.setattr(program, "claimed_by", first)
    monkeypatch.setattr(program.time, "sleep", stop)
    with pytest.raises(KeyboardInterrupt):
        program.main()
    own, refused_ = said
    assert "SHA256:" in own
    assert refused_.startswith("has no identity yet: it was refused: ")
    assert refused_.isprintable()
    assert "SHA256" not in refused_
    assert "aaaa" not in refused_
    assert "  " not in refused_


def test_an_image_without_keys_has_nothing_of_it():
    assert planted([]) == []


def test_what_is_planted_lies_in_the_tree_and_its_program_is_whole(tmp_path, made):
    root = tmp_path / "root"
    root.mkdir()
    for path, text, mode in planted([made[1]["sign"], made[1]["login"]]):
        sealing.plant(root / path.lstrip("/"), text, mode)
    unit = root / "usr/lib/systemd/system/holdfast-enrolment.service"
    link = root / "usr/lib/systemd/system/multi-user.target.wants/holdfast-enrolment.service"
    assert link.resolve() == unit
    own = root / program.PROGRAM.lstrip("/")
    assert own.stat().st_mode & 0o777 == 0o755
    done = subprocess.run(["python3", "-I", "-m", "py_compile", own], check=False)
    assert done.returncode == 0
    assert f"ExecStart=/usr/bin/python3 -I {program.PROGRAM}" in unit.read_text()
    assert (root / program.SIGNERS.lstrip("/")).read_text().count(made[1]["sign"]) == 1


# The operator's side.


@dataclass
class Site:
    """An inventory of two nodes that nobody knows yet."""

    folder: Path
    keys: Path

    @property
    def inventory(self) -> Path:
        return self.folder / "inventory.yml"

    @property
    def known(self) -> str:
        return (self.folder / "known_hosts").read_text()

    def rack(self):
        return load_rack(self.inventory, unkeyed=True).rack


@pytest.fixture
def site(tmp_path: Path, made, monkeypatch) -> Site:
    monkeypatch.setenv("XDG_STATE_HOME", os.fspath(tmp_path / "state"))
    nodes = {
        name: {"ansible_host": f"192.0.2.1{name[1]}", "holdfast_mac": mac}
        for name, mac in (("n1", MAC), ("n2", OTHER_MAC))
    }
    rack = {
        "holdfast_schema": 1, "holdfast_rack": "lab-a", "holdfast_stack": str(LOCK),
        "holdfast_known_hosts": "known_hosts", "ansible_user": "robot",
        "ansible_ssh_private_key_file": str(made[0] / "login"),
    }  # fmt: skip
    text = json.dumps({"all": {"vars": rack, "hosts": nodes}}, indent=1)
    (tmp_path / "inventory.yml").write_text(text)
    return Site(tmp_path, made[0])


def hold_open(site: Site, book: Book, **more: Any):
    rack = site.rack()
    nodes = window.awaited(rack, book, more.pop("chosen", None))
    place = window.Place("http://192.0.2.1:8017/", site.folder / "nodes")
    return nodes, window.open_window(book, nodes, place, time.time() + 600, **more)


def test_a_window_lays_out_tokens_and_takes_them_back(site):
    book = Book(site.folder / "book")
    nodes, opened = hold_open(site, book)
    assert [node.name for node in nodes] == ["n1", "n2"]
    with opened as tokens:
        told = json.loads((site.folder / "nodes/52-54-00-12-34-01.json").read_text())
        assert told["token"] == tokens[MAC].secret
        kept = book.folder / "tokens.json"
        assert kept.stat().st_mode & 0o077 == 0
        assert tokens[MAC].secret not in book.path.read_text()
        with pytest.raises(HoldfastError, match="being enrolled already"), hold_open(site, book)[1]:
            pass
    assert list((site.folder / "nodes").iterdir()) == []
    assert not kept.exists()


def test_no_token_counts_any_more_where_its_file_cannot_be_removed(site):
    book = Book(site.folder / "book")
    file = site.folder / "nodes/52-54-00-12-34-01.json"
    _, opened = hold_open(site, book)
    opened.__enter__()
    file.unlink()
    file.mkdir()
    with pytest.raises(OSError, match="directory"):
        opened.__exit__(None, None, None)
    assert not (book.folder / "tokens.json").exists()


def test_a_window_that_was_killed_goes_on_with_its_tokens(site):
    book = Book(site.folder / "book")
    with hold_open(site, book)[1] as tokens:
        text = (book.folder / "tokens.json").read_text()
    # What a kill leaves.
    (book.folder / "tokens.json").write_text(text)
    with (book.path).open("a") as stream:
        stream.write('{"at": 1, "kind": "cla')
    again = Book(book.folder)
    with hold_open(site, again)[1] as second:
        assert {mac: one.secret for mac, one in second.items()} == {
            mac: one.secret for mac, one in tokens.items()
        }
    with hold_open(site, again, chosen=["n1"], fresh=["n1"])[1] as third:
        assert third[MAC].secret != tokens[MAC].secret


def claimed_book(site: Site, made, **keys: str) -> Book:
    from provision.image.enrolment.book import book_of

    book = book_of("lab-a")
    book.arm({"n1": MAC, "n2": OTHER_MAC}, time.time() + 600)
    book.disarm()
    for node, key in keys.items():
        book.claim(node, made[1][key], "192.0.2.11")
    return book


def test_a_key_that_the_console_shows_becomes_the_nodes(site, made, capsys):
    claimed_book(site, made, n1="n1")
    shown = program.fingerprint(made[1]["n1"])
    assert main(["enroll", "accept", str(site.inventory), f"n1={shown}"]) == 0
    assert site.known == f"192.0.2.11 {made[1]['n1']}\n"
    assert "accepted" in capsys.readouterr().out
    # It is known now, and awaited no more.
    assert [n.name for n in window.awaited(site.rack(), Book(site.folder / "b"), None)] == ["n2"]


def test_the_fingerprint_is_what_ssh_shows(made):
    said = subprocess.run(["ssh-keygen", "-lf", made[0] / "n1.pub"], capture_output=True,
                          text=True, check=True).stdout  # fmt: skip
    assert program.fingerprint(made[1]["n1"]) == said.split()[1]


def test_none_is_accepted_when_one_is_another_than_its_console_shows(site, made, capsys):
    claimed_book(site, made, n1="n1", n2="evil")
    shown = [f"{node}={program.fingerprint(made[1][node])}" for node in ("n1", "n2")]
    assert main(["enroll", "accept", str(site.inventory), *shown]) == 1
    assert "shows another host key" in capsys.readouterr().err
    assert not (site.folder / "known_hosts").exists()


def test_a_claim_that_a_console_belied_is_not_accepted_with_others_later(site, made, capsys):
    """Another window's network may be trusted, and the stolen claim still stands in the book."""
    claimed_book(site, made, n1="evil", n2="n2")
    shown = program.fingerprint(made[1]["n1"])
    assert main(["enroll", "accept", str(site.inventory), f"n1={shown}"]) == 1
    assert main(["enroll", "accept", str(site.inventory), "--trust-network"]) == 1
    assert "showed another host key" in capsys.readouterr().err
    assert not (site.folder / "known_hosts").exists()
    # Whoever read the console wrongly reads it again.
    shown = program.fingerprint(made[1]["evil"])
    words = [str(site.inventory), f"n1={shown}", "--trust-network"]
    assert main(["enroll", "accept", *words]) == 0
    assert len(site.known.splitlines()) == 2


def test_a_node_that_two_keys_claimed_is_given_to_neither(site, made, capsys):
    book = claimed_book(site, made, n1="n1")
    book.claim("n1", made[1]["evil"], "192.0.2.66")
    shown = program.fingerprint(made[1]["n1"])
    for words in (["--trust-network"], [f"n1={shown}"]):
        assert main(["enroll", "accept", str(site.inventory), *words]) == 1
        assert "two host keys" in capsys.readouterr().err
    assert not (site.folder / "known_hosts").exists()


def hashed(host: str, key: str, folder: Path) -> str:
    """A line of known_hosts whose host nobody can read."""
    path = folder / "hashed"
    path.write_text(f"{host} {key}\n")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", path], check=True, capture_output=True)
    (folder / "hashed.old").unlink()
    return path.read_text().strip()


def test_a_trusted_network_takes_every_claim(site, made):
    claimed_book(site, made, n1="n1", n2="n2")
    (site.folder / "known_hosts").write_text(
        f"192.0.2.11 {made[1]['evil']}\nmirror.example.org,192.0.2.12 {made[1]['login']}\n"
        f"{hashed('192.0.2.12', made[1]['evil'], made[0])}\n"
    )
    assert main(["enroll", "accept", str(site.inventory), "--trust-network"]) == 0
    # The keys that it had are gone; what was said of others goes on.
    assert site.known.splitlines() == [
        f"mirror.example.org {made[1]['login']}",
        f"192.0.2.11 {made[1]['n1']}",
        f"192.0.2.12 {made[1]['n2']}",
    ]
    assert main(["inventory", "check", str(site.inventory)]) == 0


@pytest.mark.parametrize("word", ["n1", "n1=", "n1=4a:b7", "n9=SHA256:abc"])
def test_a_fingerprint_is_given_whole(site, made, word, capsys):
    claimed_book(site, made, n1="n1")
    assert main(["enroll", "accept", str(site.inventory), word]) == 2
    assert not (site.folder / "known_hosts").exists()


def test_an_unclaimed_node_is_not_accepted(site, made, capsys):
    claimed_book(site, made)
    shown = program.fingerprint(made[1]["n1"])
    assert main(["enroll", "accept", str(site.inventory), f"n1={shown}"]) == 1
    assert "claimed no host key" in capsys.readouterr().err


def test_what_a_node_lacks_is_said_before_a_window_opens(site, capsys):
    text = site.inventory.read_text()
    for old, new in (('"holdfast_mac"', '"mac"'), ('"ansible_user": "robot"', '"x": "y"'),
                     ('"holdfast_known_hosts": "known_hosts",', "")):  # fmt: skip
        text = text.replace(old, new)
    site.inventory.write_text(text)
    words = ["enroll", "open", str(site.inventory), "--listen", "127.0.0.1:1", "--tokens",
             str(site.folder / "nodes"), "--sign", str(site.keys / "sign")]  # fmt: skip
    assert main(words) == 2
    said = capsys.readouterr().err
    for wanted in ("which network card", "an account to log in with", "nowhere to go"):
        assert wanted in said
    assert not (site.folder / "nodes").exists()


@pytest.mark.parametrize(
    "listen", ["127.0.0.1", "127.0.0.1:0", "127.0.0.1:x", ":80", "0.0.0.0:80", "[::]:80"]
)
def test_an_address_to_listen_at_has_a_port(site, listen, capsys):
    words = ["enroll", "open", str(site.inventory), "--listen", listen, "--tokens",
             str(site.folder / "nodes"), "--sign", str(site.keys / "sign")]  # fmt: skip
    assert main(words) == 2
    assert "--listen" in capsys.readouterr().err


def test_a_signing_key_that_is_none_is_said_at_once(site, capsys):
    words = ["enroll", "open", str(site.inventory), "--listen", "127.0.0.1:1", "--tokens",
             str(site.folder / "nodes"), "--sign", str(site.folder / "none")]  # fmt: skip
    assert main(words) == 2
    assert "nothing can be signed" in capsys.readouterr().err
    assert not (site.folder / "nodes").exists()


def test_tokens_say_nothing_when_shown():
    """A token in a traceback or a log would be one more place to read it from."""
    assert "hunter2" not in repr(Token("n1", "hunter2", 1.0))
    assert replace(Token("n1", "hunter2", 1.0), node="n2").secret == "hunter2"
