"""The stack lock: reading it, judging it, and asking it."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import jsonschema
import pytest

from provision.core.jsonpos import parse_json
from provision.supply.lock import StackLock, json_schema, load_lock, lock_sha256
from provision.supply.openpgp import fingerprint

BLOCK = "PGP PUBLIC KEY BLOCK-----"
EXAMPLE = Path(__file__).resolve().parents[1] / "data/example/stack.lock.json"


@pytest.fixture
def plain():
    """The example lock as plain data, to be spoilt."""
    return json.loads(EXAMPLE.read_text())


@pytest.fixture
def judge(tmp_path):
    """Write data as a lock called stack.lock.json and read it back."""

    def write(data):
        path = tmp_path / "stack.lock.json"
        path.write_text(data if isinstance(data, str) else json.dumps(data, indent=2))
        return load_lock(path, "stack.lock.json")

    return write


@pytest.fixture
def lock():
    found, problems = load_lock(EXAMPLE)
    assert problems == []
    assert found is not None
    return found


def test_queries(lock: StackLock):
    names = [r.nevra for r in lock.packages("base", "10", "x86_64")]
    assert names == ["firewalld-0:2.3-1.el10.noarch", "python3-libdnf-0:0.74-2.el10.x86_64"]
    assert [r.name for r in lock.packages("base", "10", "aarch64")] == ["firewalld"]
    assert lock.packages("no_such_role", "10", "x86_64") == ()
    assert StackLock.nevra(lock.rpms[0]) == "chrony-0:4.6-1.el9.x86_64"
    assert lock.image("llama-cpp", "x86_64") is lock.images[0]
    assert lock.image("llama-cpp", "aarch64") is None
    assert lock.model("tiny") is lock.models[0]
    assert lock.model("none") is None
    assert lock.origin_address("site-mirror") == "http://mirror.rack.example/holdfast"
    assert lock.origin_address("site-mirror", "http://other/") == "http://other"
    with pytest.raises(KeyError):
        lock.origin_address("nowhere")
    assert len(lock_sha256(EXAMPLE)) == 64


def test_dependencies_belong_to_no_role(lock: StackLock):
    roles = {role for rpm in lock.rpms for role in rpm.roles}
    named = {r.name for role in roles for r in lock.packages(role, "10", "x86_64")}
    assert "conmon" not in named


def test_lock_cannot_be_changed(lock: StackLock):
    with pytest.raises(ValueError, match="frozen"):
        lock.name = "other"


SPOILT = {
    "unknown-key": (
        lambda d: d["rpms"][0].update(sha265="x"),
        "the key 'sha265' is not known here",
        "sha265",
        "did you mean 'sha256'?",
    ),
    "unknown-key at the top": (
        lambda d: d.update(modells=[]),
        "the key 'modells' is not known here",
        "modells",
        "did you mean 'models'?",
    ),
    "missing-key": (
        lambda d: d["images"][0].pop("reason"),
        "the key 'reason' is missing",
        "{",
        None,
    ),
    "wrong-value digest": (
        lambda d: d["rpms"][1].update(sha256="AB"),
        "'AB' is not 64 lower-case hex digits (a SHA-256)",
        "AB",
        None,
    ),
    "wrong-value image digest": (
        lambda d: d["images"][0].update(digest="sha256:0"),
        "is not 'sha256:' and 64 lower-case hex digits",
        "sha256:0",
        None,
    ),
    "wrong-value licence class": (
        lambda d: d["models"][0].update(licence_class="opn"),
        "'opn' is not 'open', 'redistributable' or 'proprietary'",
        "opn",
        "did you mean 'open'?",
    ),
    "wrong-value reason": (
        lambda d: d["rpms"][2].update(reason="  "),
        "is not some words",
        '"  "',
        None,
    ),
    "wrong-value path": (
        lambda d: d["models"][0]["files"][0].update(path="../../etc/shadow"),
        "must be a relative path",
        "../../etc/shadow",
        None,
    ),
    "wrong-value address": (
        lambda d: d["origins"]["site-mirror"].update(address="http://me:pw@host/x"),
        "must not hold a user name or password",
        "http://",
        None,
    ),
    "wrong-value line in an address": (
        lambda d: d["origins"]["site-mirror"].update(address="http://host/x\n[evil]"),
        "must not hold blanks",
        '"http://host/x',
        None,
    ),
    "wrong-value line in a repository's name": (
        lambda d: d["repositories"][0].update(name="Site\n\n[evil]\nbaseurl=http://evil/"),
        "is not some words on one line",
        '"Site\\n',
        None,
    ),
    "wrong-value line in a reference": (
        lambda d: d["images"][0].update(reference="localhost/x\nPodmanArgs=--privileged"),
        "is not an image's name",
        '"localhost/x\\n',
        None,
    ),
    "wrong-value option in a reference": (
        lambda d: d["images"][0].update(reference="--root=/tmp/x"),
        "is not an image's name",
        '"--root',
        None,
    ),
    "wrong-value option in a path": (
        lambda d: d["models"][0]["files"][0].update(path="tiny.gguf --no-mmap"),
        "must be made of letters",
        '"tiny.gguf --no-mmap',
        None,
    ),
    "wrong-value line in a path": (
        lambda d: d["images"][0]["archive"].update(path="images/x\ny"),
        "must be made of letters",
        '"images/x\\ny',
        None,
    ),
    "wrong-value scheme": (
        lambda d: d["origins"]["site-mirror"].update(address="ftp://host/x"),
        "must begin with http://, https:// or file://",
        "ftp://",
        None,
    ),
    "wrong-value size": (
        lambda d: d["rpms"][0].update(size=-1),
        "'-1' is not at least 0",
        "-1",
        None,
    ),
    "wrong-type": (
        lambda d: d["rpms"][0].update(size="12"),
        "'12' is not a whole number",
        '"12"',
        None,
    ),
    "wrong-type list": (lambda d: d.update(wheels={}), "is not a list", "{}", None),
    "wrong-value name": (
        lambda d: d["origins"].update({"a b": d["origins"]["site-mirror"]}),
        "is not a name of letters",
        "a b",
        None,
    ),
    "unknown-repository": (
        lambda d: d["rpms"][3].update(repository="site-el8"),
        "no repository is called 'site-el8'",
        "site-el8",
        "did you mean 'site-el9'?",
    ),
    "unknown-key-name": (
        lambda d: d["rpms"][3].update(key="exampel"),
        "no signing key is called 'exampel'",
        "exampel",
        "did you mean 'example'?",
    ),
    "unknown-origin": (
        lambda d: d["wheels"][0].update(origin="siet-mirror"),
        "no origin is called 'siet-mirror'",
        "siet-mirror",
        "did you mean 'site-mirror'?",
    ),
    "wrong-repository": (
        lambda d: d["rpms"][0].update(repository="site-el10"),
        "cannot lie in 'site-el10' (EL 10 x86_64)",
        "site-el10",
        "name the repository of that release and architecture",
    ),
    "unknown-entry": (
        lambda d: d["models"][0].update(entry="tinny.gguf"),
        "the entry 'tinny.gguf' is not among the model's files",
        "tinny",
        "did you mean 'tiny.gguf'?",
    ),
    "wrong-key": (
        lambda d: d["keys"]["example"].update(fingerprint="0" * 40),
        "is not the one with this fingerprint",
        "0" * 40,
        "find out which of the two is right before you trust either",
    ),
    "bad-key": (
        lambda d: d["keys"]["example"].update(
            armored=f"-----BEGIN {BLOCK}\n\nAAAA\n-----END {BLOCK}"
        ),
        "cannot be read: no packet begins here",
        "-----BEGIN",
        "export it anew with `gpg --armor --export`",
    ),
}


@pytest.mark.parametrize("name", SPOILT)
def test_mistake_is_found_where_it_is(name, plain, judge, tmp_path):
    spoil, message, at, hint = SPOILT[name]
    spoil(plain)
    found, problems = judge(plain)
    assert found is None
    (problem,) = problems
    assert message in problem.message
    assert problem.hint == hint
    assert problem.position.file == "stack.lock.json"
    line = (tmp_path / "stack.lock.json").read_text().splitlines()[problem.position.line - 1]
    assert line[problem.position.column - 1 :].lstrip('"').startswith(at.strip('"'))


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("rpms", "package chrony.x86_64 for EL 9 is pinned twice"),
        ("images", "image 'llama-cpp' for x86_64 is pinned twice"),
        ("models", "model 'tiny' is pinned twice"),
        ("wheels", "is pinned twice"),
        ("repositories", "repository 'site-el9' is pinned twice"),
    ],
)
def test_pin_that_is_there_twice(kind, words, plain, judge):
    plain[kind].append(copy.deepcopy(plain[kind][0]))
    found, (problem,) = judge(plain)
    assert found is None
    assert words in problem.message


def test_all_mistakes_at_once_in_reading_order(plain, judge):
    del plain["rpms"][0]["licence"]
    plain["rpms"][1]["sha256"] = "no"
    plain["models"][0]["format"] = "pickle"
    plain["origins"]["site-mirror"]["kind"] = "mirorr"
    found, problems = judge(plain)
    assert found is None
    assert len(problems) == 4
    assert [p.position for p in problems] == sorted(p.position for p in problems)


def test_all_misfits_at_once(plain, judge):
    plain["rpms"][0]["key"] = "nobody"
    plain["models"][1]["entry"] = "nothing"
    plain["keys"]["example"]["fingerprint"] = "1" * 40
    found, problems = judge(plain)
    assert found is None
    assert {p.code for p in problems} == {"unknown-signing-key", "unknown-entry", "wrong-key"}


@pytest.mark.parametrize(
    ("text", "message", "place"),
    [
        ("", "expecting value", (1, 1)),
        ("{", "a key in double quotes is expected", (1, 2)),
        ('{\n  "schema" "x"\n}', "a colon is expected", (2, 12)),
        ('{"a": 1,\n}', "a key in double quotes is expected", (2, 1)),
        ('{"a": [1, 2}', "a comma or ']' is expected", (1, 12)),
        ('{"a": NaN}', "NaN is not JSON", (1, 7)),
        ('{"a": "\\ud800"}', "half of a surrogate pair", (1, 7)),
        ('{"a": "x\ny"}', "invalid control character", (1, 9)),
        ("{} {}", "something follows the end", (1, 4)),
        ("[" * 100, "nested deeper", (1, 34)),
        ('{"a": ' + "9" * 5000 + "}", "limit", (1, 7)),
        ("[]", "a stack lock is a JSON object", (1, 1)),
        ("{}", "the key 'schema' is missing", (1, 1)),
        ('{"schema": "holdfast.stack/9"}', "is not known", (1, 12)),
        ('{"schema": 1}', "is not known", (1, 12)),
    ],
)
def test_text_that_is_no_lock(text, message, place, judge):
    found, (problem,) = judge(text)
    assert found is None
    assert message in problem.message
    assert (problem.position.line, problem.position.column) == place


def test_key_that_is_there_twice(judge):
    text = EXAMPLE.read_text().replace('"name": "example",', '"name": "a",\n  "name": "example",')
    found, (problem,) = judge(text)
    assert found is None
    assert problem.code == "duplicate-key"
    assert (problem.position.line, problem.position.column) == (4, 3)


def test_file_that_is_not_there(tmp_path):
    found, (problem,) = load_lock(tmp_path / "none.json")
    assert found is None
    assert "does not exist" in problem.message


def test_bytes_that_are_not_text(tmp_path):
    path = tmp_path / "x.json"
    path.write_bytes(b"\xff\xfe{}")
    found, (problem,) = load_lock(path)
    assert found is None
    assert problem.code == "not-utf8"


def test_positions_of_values_and_keys():
    document, problems = parse_json('{\n "a": [1,\n  {"b": true}]\n}', "x")
    assert problems == []
    assert document.data == {"a": [1, {"b": True}]}
    where = {p: str(document.position(o)) for p, o in document.values.items()}
    assert where == {
        (): "x:1:1",
        ("a",): "x:2:7",
        ("a", 0): "x:2:8",
        ("a", 1): "x:3:3",
        ("a", 1, "b"): "x:3:9",
    }
    assert str(document.position(document.keys["a", 1, "b"])) == "x:3:4"


def test_published_schema_takes_the_example_and_refuses_others(plain):
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    judge = jsonschema.Draft202012Validator(schema)
    judge.validate(plain)
    plain["origins"]["a b"] = plain["origins"]["site-mirror"]
    del plain["rpms"][0]["reason"]
    assert len(list(judge.iter_errors(plain))) == 2


def test_fingerprint_comes_from_the_key(plain):
    key = plain["keys"]["example"]
    assert fingerprint(key["armored"]) == key["fingerprint"]


def test_fingerprint_of_a_damaged_key(plain):
    lines = plain["keys"]["example"]["armored"].splitlines()
    with pytest.raises(ValueError, match="whole armoured"):
        fingerprint("\n".join(lines[:-1]))
    with pytest.raises(ValueError, match="cut short"):
        fingerprint("\n".join([*lines[:2], lines[2][:40], lines[-1]]))
    lines[2] = "!" + lines[2][1:]
    with pytest.raises(ValueError, match="damaged"):
        fingerprint("\n".join(lines))
