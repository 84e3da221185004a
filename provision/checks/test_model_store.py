"""The model store: the files of the locked model, all of them, only them, and unwritable."""

from __future__ import annotations

from provision.checks.applies import serving, where_it_serves, where_it_serves_with_packages
from provision.checks.declaration import Expected
from provision.checks.declare import Looker, Seen, check, listed
from provision.checks.packages import assert_locked
from provision.verdict.model import Severity

_UP = "run `holdfast up` for this node"


@check(
    "model_store.packages",
    title="The packages of the model store are installed as locked",
    expected="the name, epoch, version, release and architecture of the stack lock",
    severity=Severity.HIGH,
    action=_UP,
    clears="every package of the role stands in the rpm database exactly as locked",
    looks=("packages",),
    applies=where_it_serves_with_packages("model_store"),
)
def test_packages(look: Looker, seen: Seen, expected: Expected) -> None:
    """The rpm database against the lock."""
    assert_locked("model_store", look, seen, expected)


@check(
    "model_store.digests",
    title="Every file of the model has the locked digest",
    expected=lambda e: (
        listed([f"{f.path} {f.sha256[:12]}" for f in e.serving.files]) if e.serving else ""
    ),
    severity=Severity.CRITICAL,
    action="take the node out of service; find who changed the model; then " + _UP,
    clears="the sha256 of every file, computed on the node, is that of the stack lock",
    looks=("model_store",),
    applies=where_it_serves,
)
def test_digests(look: Looker, seen: Seen, expected: Expected) -> None:
    """Computed by the probe from the files as they are now."""
    found = look("model_store", "digests")
    wanted = {f.path: f.sha256 for f in serving(expected).files}
    seen(listed([f"{name} {digest[:12]}" for name, digest in sorted(found.items())]))
    wrong = [f"{name} is not there" for name in wanted if name not in found]
    wrong += [
        f"{name} has {found[name][:12]}, not {digest[:12]}"
        for name, digest in wanted.items()
        if found.get(name, digest) != digest
    ]
    assert not wrong, listed(wrong)


@check(
    "model_store.nothing_else",
    title="Nothing but the locked files lies in the model's folder",
    expected="the files of the stack lock; no link, no other file",
    severity=Severity.HIGH,
    action="look at what lies there and where it came from, then remove it",
    clears="the folder holds the locked files and nothing else",
    looks=("model_store",),
    applies=where_it_serves,
)
def test_nothing_else(look: Looker, seen: Seen, expected: Expected) -> None:
    """An engine may load what it finds beside the model."""
    wanted = {f.path for f in serving(expected).files}
    tree = [e for e in look("model_store", "tree") if e["path"] != "."]
    seen(listed([e["path"] for e in tree]))
    wrong = [
        f"{e['path']} ({e['kind']})"
        for e in tree
        if e["kind"] not in ("file", "folder") or (e["kind"] == "file" and e["path"] not in wanted)
    ]
    assert not wrong, "not locked: " + listed(wrong)


@check(
    "model_store.read_only",
    title="Only root could change the model, and not by accident",
    expected="root owns folder and files; nobody has write permission on a file",
    severity=Severity.HIGH,
    action=_UP,
    clears="owner is root, and no write bit for group or others, none at all on files",
    looks=("model_store",),
    applies=where_it_serves,
)
def test_read_only(look: Looker, seen: Seen, expected: Expected) -> None:
    """Owners and modes, of the folder above too."""
    del expected
    entries = [look("model_store", "parent"), *look("model_store", "tree")]
    seen(listed([f"{e['path']} {e['mode']:04o} {e['uid']}:{e['gid']}" for e in entries]))
    wrong = [
        f"{e['path']} {e['mode']:04o} {e['uid']}:{e['gid']}"
        for e in entries
        if e["uid"] != 0 or e["mode"] & (0o222 if e["kind"] == "file" else 0o022)
    ]
    assert not wrong, listed(wrong)
