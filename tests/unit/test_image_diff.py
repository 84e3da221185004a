"""What differs between two images is told once, where it belongs, in all three forms."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from provision.cli.main import main
from provision.core.problems import HoldfastError
from provision.image import manifest as manifests
from provision.image.described import describe
from provision.image.difference import SECTIONS, capabilities, difference
from provision.image.filelist import Entry, parse_files, read_files, written
from provision.image.manifest import KernelFacts
from provision.image.pages import difference_page
from provision.image.shown import difference_text
from tests.unit.signed_support import digest, entries, make_image, make_key

PING = "0100000200200000000000000000000000000000"
"""cap_net_raw=ep, as an attribute."""


def component(name: str, version: str = "0:1-1", licence: str = "MIT", kind: str = "library"):
    return {
        "type": kind, "name": name, "version": version, "licenses": [{"expression": licence}],
        "properties": [{"name": "holdfast:rpm:nevra", "value": f"{name}-{version}.x86_64"}]
        if kind == "library" else [],
    }  # fmt: skip


def results(**rules: str) -> str:
    return json.dumps({"rules": {name: {"result": result} for name, result in rules.items()}})


def sbom(*components) -> str:
    return json.dumps({"components": [*components, {"type": "file", "name": "/x"}]})


def link(path: str, target: str) -> Entry:
    return Entry(path, "l", 0o777, 0, 0, 0, target, "-")


def files(**changed) -> dict[str, Entry]:
    found = entries(5)
    for path in ("/usr/bin/ping", "/usr/bin/su", "/etc/a", "/etc/b"):
        found[path] = Entry(path, "f", 0o755, 0, 0, 3, digest(path), "-")
    return found


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> tuple[Path, Path, Path]:
    """Two images that differ in everything that is compared, and the public key."""
    folder = tmp_path_factory.mktemp("two")
    key, public = make_key(folder / "image.key")
    make_image(
        folder / "a", key, files=files(),
        documents={manifests.CYCLONEDX: sbom(component("kept"), component("gone"),
                                             component("older", "0:1-1"),
                                             component("relicensed")),
                   manifests.RESULTS: results(one="pass", two="fail", three="pass")},
    )  # fmt: skip
    other = files()
    other["/usr/bin/ping"] = other["/usr/bin/ping"]._replace(xattrs=f"security.capability={PING}")
    other["/usr/bin/su"] = other["/usr/bin/su"]._replace(mode=0o4755)
    other["/etc/a"] = other["/etc/a"]._replace(uid=7, gid=8, holds=digest("new"))
    other["/etc/b"] = other["/etc/b"]._replace(xattrs="user.note=00")
    del other["/usr/share/f00001"]
    unit = "/etc/systemd/system/multi-user.target.wants/x.service"
    other[unit] = link(unit, "/usr/lib/systemd/system/x.service")
    masked = "/etc/systemd/system/ctrl-alt-del.target"
    other[masked] = link(masked, "/dev/null")
    make_image(
        folder / "b", key, files=other,
        kernel=KernelFacts(version="5.14.0-2.el9.x86_64", arguments="quiet audit=1"),
        documents={manifests.CYCLONEDX: sbom(component("kept"), component("older", "0:2-1"),
                                             component("relicensed", licence="GPL-2.0-only"),
                                             component("tiny", "1", kind="machine-learning-model")),
                   manifests.RESULTS: results(one="fail", two="fail", four="notapplicable")},
    )  # fmt: skip
    return folder / "a", folder / "b", public


def test_every_difference_is_told_where_it_belongs(two):
    found = difference(describe(two[0]), describe(two[1]))
    told = {n: {(c.word, c.what): (c.before, c.after) for c in cs} for n, cs in
            found.sections.items()}  # fmt: skip
    assert set(told) == set(SECTIONS)
    assert told["packages"] == {
        ("removed", "gone.x86_64"): ("0:1-1", ""),
        ("changed", "older.x86_64"): ("0:1-1", "0:2-1"),
    }
    assert told["sbom"] == {
        ("changed", "licence of relicensed"): ("MIT", "GPL-2.0-only"),
        ("added", "machine-learning-model tiny"): ("", "1"),
    }
    assert set(told["kernel"]) == {("changed", "version"), ("removed", "ro"), ("added", "audit=1")}
    assert sorted(v[1] for v in told["units"].values()) == [
        "ctrl-alt-del.target is masked", "x.service is enabled for multi-user.target",
    ]  # fmt: skip
    assert told["rules"] == {
        ("changed", "one"): ("pass", "fail"),
        ("removed", "three"): ("pass", ""),
        ("added", "four"): ("", "notapplicable"),
    }
    assert told["privileges"] == {
        ("added", "/usr/bin/ping"): ("", "capabilities cap_net_raw=ep"),
        ("added", "/usr/bin/su"): ("", "mode 4755, owner 0:0"),
    }
    assert told["owners"] == {("changed", "/etc/a"): ("0:0", "7:8")}
    assert told["modes"] == {("changed", "/usr/bin/su"): ("0755", "4755")}
    assert told["attributes"] == {("changed", "/etc/b"): ("-", "user.note=00")}
    assert {what for _, what in told["files"]} == {
        "/etc/a", "/usr/share/f00001", "/etc/systemd/system/ctrl-alt-del.target",
        "/etc/systemd/system/multi-user.target.wants/x.service",
    }  # fmt: skip
    assert ("changed", "paths in the tree") in told["sizes"]


def test_an_image_does_not_differ_from_itself(two):
    found = difference(describe(two[0]), describe(two[0]))
    assert found.count == 0
    assert "alike" in difference_text(found, width=80, colour=False, every=False)


def test_what_one_of_them_does_not_bring_is_not_compared(two, tmp_path):
    key, _ = make_key(tmp_path / "image.key")
    make_image(tmp_path / "bare", key)
    found = difference(describe(two[0]), describe(tmp_path / "bare"))
    assert set(found.unlooked) == {"packages", "sbom", "rules"}
    assert "not compared" in difference_text(found, width=None, colour=False, every=True)
    assert found.to_json()["not_compared"]["rules"]


def test_a_document_that_is_not_the_manifests_is_refused(two, tmp_path):
    key, public = make_key(tmp_path / "image.key")
    make_image(tmp_path / "image", key)
    (tmp_path / "image/files.tsv").write_text("")
    with pytest.raises(HoldfastError, match="not what the manifest says"):
        difference(describe(two[0]), describe(tmp_path / "image"))
    assert main(["image", "diff", str(two[0]), str(tmp_path / "image"), "--key", str(public)]) == 1


def test_text_json_and_page(two, tmp_path, capsys):
    page = tmp_path / "diff.html"
    words = ["image", "diff", str(two[0]), str(two[1])]
    assert main([*words, "--json", "--key", str(two[2]), "--html", str(page)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "holdfast.image-diff/1"
    assert document["sections"]["modes"] == [
        {"change": "changed", "what": "/usr/bin/su", "a": "0755", "b": "4755"}
    ]
    assert main(words) == 0
    text = capsys.readouterr().out
    for words_of in ("Rules that flip (3)", "~ one", "+ audit=1", "cap_net_raw=ep"):
        assert words_of in text
    html = page.read_text()
    assert "cap_net_raw=ep" in html
    assert "<script" not in html
    assert "Content-Security-Policy" in html
    # What the verdict's page has its script filter would not be shown here.
    assert 'class="part' not in html


def test_names_from_an_image_do_no_harm(tmp_path):
    key, _ = make_key(tmp_path / "image.key")
    bad = "/etc/\x1b[2J<script>alert(1)</script>"
    listed = entries(1)
    listed[bad] = Entry(bad, "f", 0o644, 0, 0, 0, digest(""), "-")
    make_image(tmp_path / "a", key, files=entries(1))
    make_image(tmp_path / "b", key, files=listed)
    found = difference(describe(tmp_path / "a"), describe(tmp_path / "b"))
    assert "<script>" not in difference_page(found)
    assert "\x1b[2J" not in difference_text(found, width=80, colour=True, every=True)


# Lists of files.


def test_a_list_of_files_is_read_as_it_was_written(tmp_path):
    odd = {e.path: e for e in (
        Entry("/", "d", 0o755, 0, 0, 0, "-", "-"),
        Entry("/etc/a\tb\n\"'\\", "f", 0o4755, 1, 2, 3, digest("x"), "user.a=00,user.b=ff"),
        Entry("/etc/\udcff", "l", 0o777, 0, 0, 0, "\udcfe\n", "-"),
        Entry("/etc/ä", "c", 0o600, 0, 5, 0, "5:1", "-"),
    )}  # fmt: skip
    path = tmp_path / "files.tsv"
    path.write_text("".join(written(odd.values())), encoding="ascii")
    assert read_files(path) == odd
    assert list(read_files(path)) == sorted(odd, key=lambda p: p.encode("utf-8", "surrogateescape"))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('"/"\td\t0755\t0\t0\t0\t-\t-', 1),
        ('"/"\td\t0755\t0\t0\t0\t-\n', 1),
        ('"/"\td\t0955\t0\t0\t0\t-\t-\n', 1),
        ('"/"\td\t0755\t0\t0\t0\t-\t-\n"/"\td\t0755\t0\t0\t0\t-\t-\n', 1),
        ('"/"\td\t0755\t0\t0\t0\t-\t-\n"/a"\tl\t0777\t0\t0\t0\tx\t-\n', 2),
        ('/\td\t0755\t0\t0\t0\t-\t-\n', 1),
    ],
)  # fmt: skip
def test_a_damaged_list_is_refused_with_its_line(text, line):
    with pytest.raises(HoldfastError) as caught:
        parse_files(text, "files.tsv")
    position = caught.value.problems[0].position
    assert position is not None
    assert (position.file, position.line) == ("files.tsv", line)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (PING, "cap_net_raw=ep"),
        ("0000000200040000000400000000000000000000", "cap_net_bind_service=ip"),
        ("010000020000000000000000c0000000000000c0", "cap_perfmon"),
        ("zz"[:0], ""),
        ("0102", "0102"),
        ("no hex", "no hex"),
    ],
)
def test_capabilities_in_words(value, words):
    assert capabilities(value).startswith(words)
