"""Every kind of drift is found on a real tree, with a command; what was not seen is unknown."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from provision.core.problems import HoldfastError
from provision.image import manifest as manifests
from provision.image import onnode
from provision.image.described import Described, describe
from provision.image.drift import KINDS, Drift, Sight, drift
from provision.image.filelist import parse_files
from provision.image.ignored import Ignored, ours, parse, with_site
from provision.image.looking import NodeDrift, Way, judged, read_answer
from provision.image.manifest import KernelFacts
from provision.image.onnode import SCHEMA, Walk
from provision.image.pages import drift_page
from provision.image.shown import drift_text
from provision.verdict.model import Status
from tests.unit.signed_support import make_image, make_key
from tests.unit.test_image_diff import PING, component, sbom

pytestmark = pytest.mark.needs("root")

WANTS = "etc/systemd/system/multi-user.target.wants"
ARGUMENTS = "quiet audit=1"
KERNEL = "5.14.0-1.el9.x86_64"
NONE = Ignored([])


def plant_tree(root: Path) -> None:
    for folder in ("etc", "usr/bin", "usr/lib/systemd/system", WANTS, "srv/data/deep", "dev2"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for name in ("etc/conf", "usr/bin/tool", "usr/bin/ping", "usr/bin/owned", "srv/data/deep/x"):
        (root / name).write_text(name)
        (root / name).chmod(0o755)
    (root / "usr/lib/systemd/system/a.service").write_text("[Unit]\n")
    (root / WANTS / "a.service").symlink_to("/usr/lib/systemd/system/a.service")
    (root / "etc/link").symlink_to("conf")
    os.setxattr(root / "usr/bin/ping", "security.capability", bytes.fromhex(PING))
    os.mknod(root / "dev2/null", 0o20666, os.makedev(1, 3))


def listing(root: Path) -> dict:
    return parse_files("".join(Walk(str(root), {}, []).lines()), "tree")


def packages(*names: str) -> str:
    owned = component("owner")
    owned["components"] = [{"type": "file", "name": "/usr/bin/owned"}]
    return sbom(owned, *map(component, names))


@pytest.fixture(scope="module")
def origin(tmp_path_factory) -> tuple[Path, Described]:
    """A tree, and the image of it."""
    folder = tmp_path_factory.mktemp("origin")
    plant_tree(folder / "root")
    key, _ = make_key(folder / "image.key")
    make_image(
        folder / "image", key, files=listing(folder / "root"),
        documents={manifests.CYCLONEDX: packages("kept", "older")},
        kernel=KernelFacts(version=KERNEL, arguments=ARGUMENTS),
    )  # fmt: skip
    return folder / "root", describe(folder / "image")


@pytest.fixture
def node(origin, tmp_path) -> Path:
    """A copy of the tree that a test may change."""
    subprocess.run(["cp", "-a", origin[0], tmp_path / "node"], check=True)
    return tmp_path / "node"


def sight(root: Path) -> Sight:
    walk = Walk(str(root), {}, [])
    files = parse_files("".join(walk.lines()), "node")
    every = tuple(f"{n}-0:1-1.x86_64" for n in ("owner", "kept", "older"))
    return Sight(files, walk.errors, walk.mounted, every, {}, KERNEL, ARGUMENTS)


def test_a_node_that_is_as_its_image_has_no_drift(origin, node):
    found = drift(origin[1], sight(node), NONE)
    assert (found.drifts, found.unseen, found.ignored) == ((), (), {})


def remove(path: str) -> Callable[[Path], None]:
    return lambda root: (root / path).unlink()


def write(path: str, text: str) -> Callable[[Path], None]:
    def act(root: Path) -> None:
        (root / path).parent.mkdir(exist_ok=True)
        (root / path).write_text(text)

    return act


def point(path: str, target: str) -> Callable[[Path], None]:
    def act(root: Path) -> None:
        (root / path).unlink(missing_ok=True)
        (root / path).symlink_to(target)

    return act


def device(root: Path) -> None:
    (root / "dev2/null").unlink()
    os.mknod(root / "dev2/null", 0o20666, os.makedev(1, 5))


def capability(root: Path) -> None:
    os.removexattr(root / "usr/bin/ping", "security.capability")


def gain(root: Path) -> None:
    os.setxattr(root / "usr/bin/tool", "security.capability", bytes.fromhex(PING))


PLANTED: dict[str, tuple[Callable[[Path], None], list[tuple[str, str]]]] = {
    "content": (write("etc/conf", "etc/cons"), [("content", "/etc/conf")]),
    "shorter": (write("usr/bin/owned", ""), [("content", "/usr/bin/owned")]),
    "gone": (remove("etc/conf"), [("missing", "/etc/conf")]),
    "folder gone": (lambda r: shutil.rmtree(r / "srv/data"), [("missing", "/srv/data")]),
    "new": (write("etc/new", ""), [("added", "/etc/new")]),
    "new folder": (write("srv/more/x", "x"), [("added", "/srv/more")]),
    "new device": (lambda r: os.mknod(r / "etc/dev", 0o60600, os.makedev(8, 0)),
                   [("added", "/etc/dev")]),
    "mode": (lambda r: (r / "etc/conf").chmod(0o777), [("mode", "/etc/conf")]),
    "set-user-id": (lambda r: (r / "usr/bin/tool").chmod(0o4755), [("mode", "/usr/bin/tool")]),
    "folder mode": (lambda r: (r / "srv").chmod(0o1777), [("mode", "/srv")]),
    "owner": (lambda r: os.chown(r / "etc/conf", 7, 0), [("owner", "/etc/conf")]),
    "group": (lambda r: os.chown(r / "etc/conf", 0, 7), [("owner", "/etc/conf")]),
    "owner of a link": (lambda r: os.lchown(r / "etc/link", 7, 7), [("owner", "/etc/link")]),
    "capability gone": (capability, [("capability", "/usr/bin/ping")]),
    "capability": (gain, [("capability", "/usr/bin/tool")]),
    "attribute": (lambda r: os.setxattr(r / "etc/conf", "user.x", b"1"),
                  [("attribute", "/etc/conf")]),
    "target": (point("etc/link", "other"), [("target", "/etc/link")]),
    "link for a file": (point("etc/conf", "/etc/shadow"), [("type", "/etc/conf")]),
    "device": (device, [("device", "/dev2/null")]),
    "disabled": (remove(f"{WANTS}/a.service"), [("unit-disabled", f"/{WANTS}/a.service")]),
    "enabled": (point(f"{WANTS}/b.service", "/usr/lib/systemd/system/b.service"),
                [("unit-enabled", f"/{WANTS}/b.service")]),
    "masked": (point("etc/systemd/system/a.service", "/dev/null"),
               [("unit-masked", "/etc/systemd/system/a.service")]),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANTED)
def test_each_kind_is_found_alone_and_its_command_takes_it_back(origin, node, name):
    plant, wanted = PLANTED[name]
    plant(node)
    found = drift(origin[1], sight(node), NONE)
    assert [(d.kind, d.what) for d in found.drifts] == wanted
    assert not found.unseen
    (one,) = found.drifts
    assert one.expected != one.seen
    restored(origin[0], node, one)
    again = drift(origin[1], sight(node), NONE)
    assert [(d.kind, d.what) for d in again.drifts] == []


def restored(origin: Path, node: Path, one: Drift) -> None:
    """Run the command in the tree; what is brought from packages or the image is copied here."""
    command = one.restore
    if command.startswith("systemctl "):
        _, word, name = command.split()
        unit = f"usr/lib/systemd/system/{name}"
        place = {"enable": WANTS, "disable": WANTS}.get(word, "etc/systemd/system")
        link = node / place / name
        link.unlink(missing_ok=True)
        if word == "enable":
            link.symlink_to(f"/{unit}")
        return
    for begin in ("copy ", "dnf reinstall ", "rm -rf /etc/conf && copy "):
        if command.startswith(begin):
            (node / one.what[1:]).unlink(missing_ok=True)
            subprocess.run(["cp", "-a", f"{origin}{one.what}", f"{node}{one.what}"], check=True)
            return
    if command.startswith("setfattr -x "):
        os.removexattr(node / one.what[1:], command.split()[2])
        return
    if command.startswith("mkdir -p"):
        subprocess.run(["cp", "-a", f"{origin}{one.what}", f"{node}{one.what}"], check=True)
        return
    inside = (
        command.replace(" /", f" {node}/")
        if "ln -sfn" not in command
        else (f"ln -sfn {command.split()[2]} {node}{one.what}")
    )
    if "mknod" in command:
        (node / one.what[1:]).unlink()
    subprocess.run(["bash", "-euc", inside], check=True)


def test_all_of_them_at_once_and_nothing_else(origin, node):
    several = ("gone", "new folder", "set-user-id", "capability gone", "target", "disabled",
               "enabled", "masked", "device", "folder gone")  # fmt: skip
    wanted = []
    for name in several:
        PLANTED[name][0](node)
        wanted += PLANTED[name][1]
    found = drift(origin[1], sight(node), NONE)
    assert sorted((d.kind, d.what) for d in found.drifts) == sorted(wanted)
    order = list(KINDS)
    ranks = [order.index(d.kind) for d in found.drifts]
    assert ranks == sorted(ranks)


# Packages and the kernel.


def test_packages(origin, node):
    (node / "usr/bin/owned").unlink()
    (node / "usr/bin/brought").touch()
    seen = replace(
        sight(node),
        packages=(
            "kept-0:1-1.x86_64",
            "newer-1:2-1.noarch",
            "newer-1:3-1.noarch",
            "older-0:2-1.x86_64",
        ),
        owns={"newer-1:2-1.noarch": ("/usr/bin/brought",)},
    )
    found = drift(origin[1], seen, NONE)
    assert [(d.kind, d.what) for d in found.drifts] == [
        ("package-missing", "owner-0:1-1.x86_64"),
        ("package-added", "newer-1:2-1.noarch"),
        ("package-added", "newer-1:3-1.noarch"),
        ("package-version", "older.x86_64"),
    ]
    assert [d.restore.split()[1] for d in found.drifts] == [
        "install", "remove", "remove", "install",
    ]  # fmt: skip


def test_a_kernel_and_its_arguments(origin, node):
    seen = replace(sight(node), kernel="6.0", arguments="BOOT_IMAGE=/x quiet mitigations=off")
    found = [(d.kind, d.what, d.seen) for d in drift(origin[1], seen, NONE).drifts]
    assert found == [
        ("kernel", "the kernel that runs", "6.0"),
        ("kernel-argument", "audit=1", "not given"),
        ("kernel-argument", "mitigations=off", "given"),
    ]
    # A container did not start the kernel it runs on.
    assert not drift(origin[1], replace(seen, own_kernel=False), NONE).drifts


def test_what_varies_by_format_is_told_only_where_its_access_changed(origin, node, tmp_path):
    (node / "etc/conf").write_text("the archive's own")
    artefact = origin[1].manifest.artefacts[0].model_copy(update={"differs": ("/etc/conf",)})
    varied = Described(tmp_path, origin[1].manifest.model_copy(update={"artefacts": (artefact,)}))
    varied.__dict__.update(files=origin[1].files, packages=origin[1].packages)
    found = drift(varied, sight(node), NONE)
    assert (found.drifts, list(found.ignored)) == ((), ["/etc/conf"])
    assert [d.what for d in drift(origin[1], sight(node), NONE).drifts] == ["/etc/conf"]
    (node / "etc/conf").chmod(0o777)
    assert "mode" in {d.kind for d in drift(varied, sight(node), NONE).drifts}


# What could not be looked at.


def test_what_cannot_be_read_is_unknown_and_not_missing(origin, node):
    seen = sight(node)
    unread = {**seen.files, "/etc/conf": seen.files["/etc/conf"]._replace(holds="?")}
    for path in ("/srv/data", "/srv/data/deep", "/srv/data/deep/x", "/usr/bin/tool"):
        del unread[path]
    found = drift(
        origin[1],
        replace(seen, files=unread, packages=None, arguments=None, mounted={"/srv/data": "nfs"},
                errors={"/etc/conf": "Input/output error", "/usr/bin/tool": "Permission denied"}),
        NONE,
    )  # fmt: skip
    assert not found.drifts
    assert {(u.what, u.why) for u in found.unseen} == {
        ("/etc/conf", "Input/output error"),
        ("/usr/bin/tool", "Permission denied"),
        ("/srv/data", "nfs is mounted there"),
        ("/srv/data/deep", "nfs is mounted there"),
        ("/srv/data/deep/x", "nfs is mounted there"),
        ("packages", "rpm's database could not be read"),
        ("kernel arguments", "/proc/cmdline could not be read"),
    }
    node_drift = NodeDrift("a", image=origin[1], found=found)
    assert node_drift.status is Status.UNKNOWN
    text = drift_text("r", [node_drift], width=None, colour=False, every=False)
    assert "/etc/conf: Input/output error" in text


def way(image: Described) -> Way:
    return Way(None, None, {image.manifest.tree.files: image}, NONE)  # nothing of them is used


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({"absent": "x"}, "does not say which image"),
        ({"error": "denied"}, "denied"),
        ({"value": {"name": "other", "files": "0" * 64}}, "came from another image"),
        ({"value": []}, "came from another image"),
    ],
)
def test_a_node_without_the_image_is_unknown(origin, node, told, why):
    found = judged(way(origin[1]), "a", {"image": told}, sight(node))
    assert found.status is Status.UNKNOWN
    assert why in found.why
    assert why in drift_page("r", [found])


def test_a_node_of_the_image_is_compared(origin, node):
    told = {"image": {"value": {"files": origin[1].manifest.tree.files}}}
    assert judged(way(origin[1]), "a", told, sight(node)).status is Status.PASS
    (node / "etc/conf").unlink()
    found = judged(way(origin[1]), "a", told, sight(node))
    assert found.status is Status.FAIL
    assert found.to_json()["drifts"][0]["kind"] == "missing"
    assert "rack r" in drift_text("r", [found], width=60, colour=True, every=False).lower()


def answer(first: object, *lines: str, last: object = None) -> bytes:
    ending = json.dumps(last or {"errors": {}, "mounted": {}})
    return zlib.compress("\n".join([json.dumps(first), *lines, ending, ""]).encode())


ABOUT = {"schema": SCHEMA, "image": {"absent": "x"}, "packages": {"value": {"a-0:1-1.x86_64": []}},
         "cmdline": {"value": "quiet"}, "kernel": {"value": "6"}}  # fmt: skip
ROOT_LINE = '"/"\td\t0755\t0\t0\t0\t-\t-'


def test_an_answer_is_read():
    about, seen = read_answer(answer(ABOUT, ROOT_LINE))
    assert about["image"] == {"absent": "x"}
    assert (seen.packages, seen.kernel, list(seen.files)) == (("a-0:1-1.x86_64",), "6", ["/"])


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"plain",
        answer(ABOUT, ROOT_LINE)[:-3],
        answer({**ABOUT, "schema": "x"}, ROOT_LINE),
        answer([], ROOT_LINE),
        answer(ABOUT, "no line"),
        answer(ABOUT, ROOT_LINE, last=[1]),
        answer({**ABOUT, "packages": 1}, ROOT_LINE),
        zlib.compress(b"{}"),
        answer({**ABOUT, "image": None}, ROOT_LINE),
        answer(ABOUT, ROOT_LINE.replace("\td\t", "\tx\t")),
        answer(ABOUT, ROOT_LINE.replace("0755", "-9")[:-8]),
        zlib.compress(b"[" * 200_000 + b"\n" + b"{}\n"),
    ],
)
def test_an_answer_that_is_none_is_refused(raw):
    with pytest.raises(ValueError, match=r"."):
        read_answer(raw)


def test_what_is_sent_to_a_node_needs_nothing_but_python():
    tree = ast.parse(Path(onnode.__file__).read_text(encoding="utf-8"))
    named = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    named |= {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    assert {str(name).partition(".")[0] for name in named} <= sys.stdlib_module_names


# What is ignored.


def rules(*lines: str) -> Ignored:
    return Ignored(parse("\n".join(line.replace(" ", "\t", 2) for line in lines), "ignore.tsv"))


def test_rules_pass_over_what_they_say_and_no_more(origin, node):
    (node / "etc/conf").write_text("other")
    (node / "etc/new").touch()
    (node / "srv/data/deep/y").touch()
    seen = sight(node)
    found = drift(origin[1], seen, rules("content /etc/conf why", "added /etc/n* why",
                                         "all /srv/data/** why"))  # fmt: skip
    assert not found.drifts
    assert set(found.ignored) == {"/etc/conf", "/etc/new", "/srv/data/deep/y"}
    # The mode of a file whose content may change is still looked at, and so is what is missing.
    (node / "etc/conf").chmod(0o777)
    found = drift(origin[1], sight(node), rules("content /etc/conf why", "added /etc/n* why",
                                                "all /srv/data/** why"))  # fmt: skip
    assert [(d.kind, d.what) for d in found.drifts] == [("mode", "/etc/conf")]
    (node / "etc/conf").unlink()
    found = drift(origin[1], sight(node), rules("added /etc/** why", "added /srv/** why"))
    assert [(d.kind, d.what) for d in found.drifts] == [("missing", "/etc/conf")]


def test_a_folder_is_passed_over_for_what_is_ignored_in_it_alone(origin, node):
    for name in ("srv/own/deep/x", "srv/mixed/x", "srv/mixed/y"):
        (node / name).parent.mkdir(parents=True, exist_ok=True)
        (node / name).touch()
    (node / "srv/empty").mkdir()
    seen = sight(node)
    one = rules("added /srv/*/x why", "added /srv/own/deep/x why", "all /srv/empty/** why")
    found = drift(origin[1], seen, one)
    assert [(d.kind, d.what) for d in found.drifts] == [("added", "/srv/mixed")]
    # What is mounted over a folder whose content is ignored hides nothing that counts.
    over = {p: e for p, e in sight(origin[0]).files.items() if not p.startswith("/srv/data")}
    hidden = replace(sight(origin[0]), files=over, mounted={"/srv/data": "tmpfs"})
    found = drift(origin[1], hidden, rules("all /srv/data/** why"))
    assert (found.drifts, found.unseen) == ((), ())


def test_a_star_stays_within_a_name():
    found = rules("all /a/* why", "all /b/** why")
    assert found.rule("/a/x") is not None
    assert found.rule("/a/x/y") is None
    assert found.rule("/b") is None
    assert found.rule("/b/x/y") is not None
    assert found.rule("/a/x\ny") is not None
    assert found.apart() == ["/b"]


def test_every_rule_of_ours_has_a_reason_and_speaks_for_something():
    found = ours()
    assert found.rules
    for rule in found.rules:
        example = rule.path.replace("/**", "/x/y").replace("*", "z")
        assert found.rule(example) is rule, rule.path
        assert len(rule.why) > 8


@pytest.mark.parametrize("path", ["/etc/passwd", "/etc/shadow", "/usr/bin/su", "/root/.bashrc",
                                  "/root/.ssh/authorized_keys", "/etc/cron.d/x",
                                  "/etc/systemd/system/x.service", "/etc/ld.so.preload",
                                  "/etc/machine-idx", "/var/spool/cron/root",
                                  "/etc/ssh/sshd_config", "/boot/vmlinuz"])  # fmt: skip
def test_what_an_attacker_would_change_is_not_ignored(path):
    rule = ours().rule(path)
    assert rule is None


def test_a_sites_rules_are_judged_all_at_once(tmp_path):
    path = tmp_path / "ignore.tsv"
    path.write_text("# words\nal\t/etc/x\twhy\nall\tetc\twhy\nall\t/etc/x\nall\t/**\twhy\n"
                    "all\t/a/**/b\twhy\n")  # fmt: skip
    with pytest.raises(HoldfastError) as caught:
        with_site(path)
    places = [(p.position.line, p.hint) for p in caught.value.problems if p.position]
    assert [line for line, _ in places] == [2, 3, 4, 5, 6]
    assert places[0][1] == "did you mean 'all'?"
    path.write_text("all\t/opt/ours/**\tthe site's own\n")
    rule = with_site(path).rule("/opt/ours/x")
    assert rule is not None
    assert rule.why == "the site's own"
    with pytest.raises(HoldfastError, match="cannot be read"):
        with_site(tmp_path / "none")
