"""Nodes made of EL's own packages: the decision, and every command, with stand-ins for dnf.

gpg, rpm, rpmsign and rpmkeys are real here; dnf, createrepo_c and what enters the tree are not.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from provision.cli.main import main
from provision.core.events import ListSink, NullSink
from provision.core.problems import HoldfastError
from provision.rehearsal import choice, el, repodata
from provision.rehearsal import node as nodes
from provision.rehearsal.artefacts import artefacts
from provision.rehearsal.choice import ENGINE_IMAGE, Choice, choose
from provision.rehearsal.recipe import load_recipe
from provision.rehearsal.rpms import Package, build_rpms
from provision.supply.lock import load_lock
from tests.unit.rehearsal_support import Commands, engine_archive, node

ROCKY = {"ID": "rocky", "ID_LIKE": "rhel centos fedora", "VERSION_ID": "10.1",
         "PRETTY_NAME": "Rocky Linux 10.1"}  # fmt: skip
FEDORA = {"ID": "fedora", "VERSION_ID": "43", "PRETTY_NAME": "Fedora Linux 43"}
DEBIAN = {"ID": "debian", "VERSION_ID": "12", "PRETTY_NAME": "Debian GNU/Linux 12"}
RECIPE = load_recipe()
WANTED = tuple(
    sorted(
        RECIPE.el_name(name)
        for name, entry in RECIPE.repository.items()
        if entry.roles and (not entry.releases or "10" in entry.releases)
    )
)


@pytest.fixture(autouse=True)
def no_engine_image_is_named(monkeypatch):
    monkeypatch.delenv(ENGINE_IMAGE, raising=False)


@pytest.fixture
def commands(tmp_path, monkeypatch) -> Commands:
    found = Commands(tmp_path / "bin", monkeypatch)
    for name in ("dnf", "apt-get", "mmdebstrap"):
        found.add(name)
    return found


@pytest.fixture
def image(tmp_path, monkeypatch) -> Path:
    return engine_archive(tmp_path / "image", monkeypatch).path


@pytest.fixture
def on(monkeypatch):
    """Says which system this host is."""

    def be(release: dict[str, str]) -> None:
        monkeypatch.setattr(platform, "freedesktop_os_release", lambda: dict(release))

    return be


# -- the decision ----------------------------------------------------------------------------------


def test_el_is_chosen_where_it_can_be_had(on, commands, image):
    on(ROCKY)
    for base, release in (("auto", None), ("auto", "10"), ("el", None)):
        found = choose(base, release, image)
        assert (found.base, found.release, found.why) == ("el", "10", "")
        assert found.made_of == "made of this host's own EL packages, Rocky Linux 10.1"
    assert set(commands.said) == {"dnf --quiet --refresh makecache"}


def test_compat_is_chosen_elsewhere_and_says_why(on, commands):
    on(DEBIAN)
    found = choose("auto", None)
    assert (found.base, found.release) == ("compat", "10")
    assert found.why == "this host is Debian GNU/Linux 12, not EL"
    assert choose("compat", "9") == Choice("compat", "9", "EL-compatible, made of Debian packages")
    assert commands.said == []


@pytest.mark.parametrize(
    ("host", "release", "why"),
    [
        (DEBIAN, None, "this host is Debian GNU/Linux 12, not EL"),
        ({}, None, "this host is a system without os-release, not EL"),
        (FEDORA, None, "this host is Fedora Linux 43; nodes are EL 9 or 10"),
        (ROCKY, "9", "whose repositories hold release 10 and not the release 9"),
    ],
)
def test_el_is_refused_with_the_reason(on, commands, host, release, why):
    on(host)
    with pytest.raises(HoldfastError, match=why) as raised:
        choose("el", release)
    assert raised.value.exit_code == 2
    assert commands.said == []


def test_repositories_that_do_not_answer(on, commands, image):
    on(ROCKY)
    commands.add("dnf", "echo 'Error: Failed to download metadata for repo baseos' >&2; exit 1")
    with pytest.raises(HoldfastError, match="Failed to download metadata") as raised:
        choose("el", None, image)
    assert raised.value.exit_code == 3
    found = choose("auto", None, image)
    assert found.base == "compat"
    assert "its repositories do not answer" in found.why


def test_neither_can_be_had(on, commands, monkeypatch, image):
    on(ROCKY)
    commands.add("dnf", "exit 1")
    monkeypatch.setattr(choice, "_has_debian_tools", lambda: False)
    with pytest.raises(HoldfastError, match=r"(?s)neither of EL's own packages .* nor of Debian's"):
        choose("auto", None, image)


def test_el_without_an_engine_image_is_refused_before_anything_is_fetched(on, commands):
    on(ROCKY)
    with pytest.raises(HoldfastError, match="EL has no package of the inference engine"):
        choose("auto", None)
    with pytest.raises(HoldfastError, match="no such file"):
        choose("auto", None, Path("/nowhere.tar"))


def test_the_engine_image_may_be_named_for_every_rack(on, commands, image, monkeypatch):
    """Racks of tests are asked for without options; on EL they would have no engine."""
    on(ROCKY)
    monkeypatch.setenv(ENGINE_IMAGE, os.fspath(image))
    assert choose("auto", "10").engine_image == image
    assert choose("compat", None).engine_image == image
    monkeypatch.setenv(ENGINE_IMAGE, "/nowhere.tar")
    with pytest.raises(HoldfastError, match="no such file") as raised:
        choose("auto", "10")
    assert raised.value.problems[0].hint == f"{ENGINE_IMAGE} has to name an OCI archive"
    assert choose("auto", "10", image).engine_image == image
    monkeypatch.setenv(ENGINE_IMAGE, "")
    with pytest.raises(HoldfastError, match="EL has no package") as raised:
        choose("auto", "10")
    assert ENGINE_IMAGE in str(raised.value.problems[0].hint)


def test_the_verb_passes_the_refusal_on(on, commands, capsys):
    on(DEBIAN)
    if os.geteuid() != 0:
        return
    assert main(["rehearse", "--base", "el"]) == 2
    assert "not EL" in capsys.readouterr().err


# -- base and repository ---------------------------------------------------------------------------


class Vendor:
    """A vendor: a key, and signed RPMs of the names that roles install and one they need."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.home = home
        gpg = repodata.gpg(self.home)
        subprocess.run([*gpg, "--quick-generate-key", "vendor <v@vendor.invalid>", "rsa3072",
                        "sign", "never"], check=True, capture_output=True)  # fmt: skip
        rows = subprocess.run([*gpg, "--with-colons", "--list-keys"], check=True,
                              capture_output=True, text=True).stdout  # fmt: skip
        self.fingerprint = next(r.split(":")[9] for r in rows.splitlines() if r.startswith("fpr"))
        self.key = folder / "RPM-GPG-KEY-Vendor-10"
        self.key.write_text(repodata.export(self.home, self.fingerprint)["armored"])
        tree = folder / "tree"
        packages = []
        for name in (*WANTED, "criu-libs"):
            (tree / "usr/lib").mkdir(parents=True, exist_ok=True)
            (tree / f"usr/lib/{name}").write_text(name)
            packages.append(Package(name, name, "1.0-1", name, "MIT", (f"/usr/lib/{name}",)))
        self.rpms = folder / "rpms"
        build_rpms("v", packages, tree, self.rpms, major="10", compress=True)
        self.sign(*self.rpms.glob("*.rpm"))

    def sign(self, *rpms: Path) -> None:
        subprocess.run(
            ["rpmsign", "--addsign", "--define", "_gpg_name vendor", "--define",
             f"__gpg {shutil.which('gpg')}", "--define",
             "_gpg_sign_cmd_extra_args --batch --pinentry-mode loopback --passphrase ''", *rpms],
            check=True, capture_output=True, env={**os.environ, "GNUPGHOME": str(self.home)},
        )  # fmt: skip


@pytest.fixture(scope="module")
def vendor(tmp_path_factory) -> Iterator[Vendor]:
    folder = tmp_path_factory.mktemp("vendor")
    (folder / "gpg").mkdir(mode=0o700)
    with repodata.short_way(folder / "gpg") as home:
        yield Vendor(folder, home)


@pytest.fixture
def host(tmp_path, vendor, commands) -> Path:
    """An EL host: its repositories, and a dnf that fills a tree and copies the vendor's RPMs."""
    root = tmp_path / "host"
    (root / "etc/yum.repos.d").mkdir(parents=True)
    (root / "etc/yum.repos.d/rocky.repo").write_text("[baseos]\n")
    (root / "etc/os-release").write_text("ID=rocky\n")
    commands.add(
        "dnf",
        f"""\
for word in "$@"; do case $word in --installroot=*) tree=${{word#*=}} ;; esac; done
case "$*" in
*" install "*)
    mkdir -p $tree/etc/pki/rpm-gpg $tree/usr/lib $tree/usr/sbin
    touch $tree/usr/sbin/NetworkManager
    echo 'rack:x:1000:1000::/var/lib/rack:/bin/bash' > $tree/etc/passwd
    cp {vendor.key} $tree/etc/pki/rpm-gpg/
    echo "not a key" > $tree/etc/pki/rpm-gpg/README
    printf 'NAME="Rocky Linux"\\nID="rocky"\\nID_LIKE="rhel centos fedora"\\nVERSION_ID="10.1"\\n' \
        > $tree/usr/lib/os-release
    echo 'PRETTY_NAME="Rocky Linux 10.1 (Red Quartz)"' >> $tree/usr/lib/os-release
    ln -s ../usr/lib/os-release $tree/etc/os-release ;;
*" download "*)
    while [ "$1" != --destdir ]; do shift; done
    cp {vendor.rpms}/*.rpm "$2" ;;
esac""",
    )
    commands.add("createrepo_c", 'mkdir -p "${@: -1}/repodata"; '
                 'echo index > "${@: -1}/repodata/repomd.xml"')  # fmt: skip
    for name in ("mknod", "systemctl", "chroot"):
        commands.add(name)
    return root


def built(host: Path) -> Path:
    return el.node_base(RECIPE, "10", NullSink(), host=host)


def test_the_base_comes_from_the_hosts_own_repositories(host, commands):
    events = ListSink()
    base = el.node_base(RECIPE, "10", events, host=host)
    installs = [line.split() for line in commands.said if " install " in line]
    assert len(installs) == 1
    part = f"{base}.part"
    assert {f"--installroot={part}/root", "--releasever=10", "--setopt=gpgcheck=1",
            "--setopt=*.gpgcheck=1", f"--setopt=reposdir={host}/etc/yum.repos.d",
            "systemd", "openssh-server", "NetworkManager", "dnf"} <= set(installs[0])  # fmt: skip
    units = "NetworkManager.service dbus-broker.service sshd.service"
    assert f"systemctl --root={part}/root enable {units}" in commands.said
    assert any(line.startswith(f"chroot {part}/root useradd ") for line in commands.said)
    assert [line.split()[3] for line in commands.said if line.startswith("mknod")] == [
        f"{part}/root/dev/{name}" for name in ("null", "zero", "random", "urandom")
    ]
    assert el.node_base(RECIPE, "10", events, host=host) == base
    assert len(events.seen) == 2
    # Other repositories make another base.
    (host / "etc/yum.repos.d/site.repo").write_text("[site]\n")
    assert built(host) != base


def test_a_pinned_minor_release_is_kept(host, commands):
    (host / "etc/dnf/vars").mkdir(parents=True)
    (host / "etc/dnf/vars/releasever").write_text("10.0\n")
    built(host)
    assert any("--releasever=10.0" in line for line in commands.said)


def test_the_node_says_what_it_is(host):
    root = built(host) / "root"
    said = dict(line.split("=", 1) for line in (root / "etc/os-release").read_text().splitlines())
    assert said["ID"] == '"holdfast-rehearsal"'
    assert said["ID_LIKE"] == '"rocky rhel centos fedora"'
    assert said["VERSION_ID"] == '"10.1"'
    assert said["PRETTY_NAME"] == '"Holdfast rehearsal node (Rocky Linux 10.1 (Red Quartz))"'
    assert not (root / "etc/os-release").is_symlink()
    assert 'ID="rocky"' in (root / "usr/lib/os-release").read_text()
    assert "not hardware" in (root / "etc/motd").read_text()


def test_a_node_gets_its_address_from_networkmanager(host, tmp_path):
    base = built(host)
    one = node(tmp_path, 3)
    nodes._give_address(one.folder / "upper", base / "root", one.address)
    keyfile = one.folder / "upper/etc/NetworkManager/system-connections/host0.nmconnection"
    assert "address1=192.0.2.13/24\n" in keyfile.read_text()
    assert keyfile.stat().st_mode & 0o777 == 0o600
    assert not (one.folder / "upper/etc/systemd/network").exists()


def test_the_repository_keeps_the_vendors_signatures(host, vendor, image, commands):
    chosen = Choice("el", "10", "made of tests", engine_image=image)
    made = artefacts(RECIPE, chosen, built(host), NullSink())
    lock, problems = load_lock(made / "stack.lock.json")
    assert problems == []
    assert lock is not None
    name = f"vendor-Vendor-10-{vendor.fingerprint[-8:]}"
    assert set(lock.keys) == {"holdfast-rehearsal", name}
    assert lock.keys[name].fingerprint == vendor.fingerprint
    assert {rpm.key for rpm in lock.rpms} == {name}
    assert {rpm.name for rpm in lock.rpms if rpm.roles} == set(WANTED)
    (needed,) = [rpm for rpm in lock.rpms if not rpm.roles]
    assert (needed.name, needed.licence) == ("criu-libs", "MIT")
    (repository,) = lock.repositories
    assert repository.key == "holdfast-rehearsal"
    folder = made / repository.path
    assert (folder / "repodata/repomd.xml.asc").exists()
    subprocess.run([*repodata.gpg(made / "private"), "--verify", folder / "repodata/repomd.xml.asc",
                    folder / "repodata/repomd.xml"], check=True, capture_output=True)  # fmt: skip
    for rpm in lock.rpms:
        assert (folder / rpm.filename).read_bytes() == (vendor.rpms / rpm.filename).read_bytes()
    assert lock.images[0].reason == "llama.cpp from engine.tar: answers prompts on a CPU"
    (download,) = [line for line in commands.said if " download " in line]
    assert f"--archlist {os.uname().machine},noarch --destdir " in download
    assert sorted(download.split()[-len(WANTED) :]) == list(WANTED)
    assert "scap-security-guide" in WANTED, "EL's own names, not Debian's"
    assert "openssl-pkcs11" not in WANTED, "release 10 has none"


def fill(host: Path, base: Path, tmp_path: Path) -> repodata.Filled:
    private, out = tmp_path / "private", tmp_path / "out"
    private.mkdir()
    out.mkdir()
    with repodata.short_way(private) as way:
        return el.fill(RECIPE, "10", base / "root", out=out, private=way, host=host)


def test_an_rpm_without_signature_is_refused(host, vendor, tmp_path, commands):
    base = built(host)
    tree = tmp_path / "tree"
    (tree / "usr").mkdir(parents=True)
    (tree / "usr/x").write_text("x")
    package = Package("unsigned", "unsigned", "1-1", "x", "MIT", ("/usr/x",))
    (plain,) = build_rpms("p", [package], tree, tmp_path / "plain", major="10", compress=True)
    script = (commands.folder / "dnf").read_text().replace("*.rpm", f"*.rpm {plain}")
    (commands.folder / "dnf").write_text(script)
    with pytest.raises(HoldfastError, match=r"unsigned-1-1.*is not signed"):
        fill(host, base, tmp_path)


def test_an_rpm_of_an_unknown_signer_is_refused(host, vendor, tmp_path):
    base = built(host)
    (base / "root/etc/pki/rpm-gpg" / vendor.key.name).unlink()
    with pytest.raises(HoldfastError, match=f"signed by key {vendor.fingerprint[-16:].lower()}"):
        fill(host, base, tmp_path)


def test_an_rpm_that_was_changed_is_refused(host, vendor, tmp_path, commands):
    base = built(host)
    spoiled = tmp_path / "spoiled"
    spoiled.mkdir()
    for rpm in vendor.rpms.glob("*.rpm"):
        body = bytearray(rpm.read_bytes())
        if rpm.name.startswith("podman"):
            body[-1] ^= 1
        (spoiled / rpm.name).write_bytes(body)
    script = (commands.folder / "dnf").read_text().replace(str(vendor.rpms), str(spoiled))
    (commands.folder / "dnf").write_text(script)
    with pytest.raises(HoldfastError, match="rpmkeys failed"):
        fill(host, base, tmp_path)


def test_a_package_that_dnf_did_not_bring_is_named(host, vendor, tmp_path, commands):
    base = built(host)
    script = (commands.folder / "dnf").read_text().replace("*.rpm", "[!p]*.rpm")
    (commands.folder / "dnf").write_text(script)
    with pytest.raises(HoldfastError, match=r"dnf downloaded no .*\bpodman\b"):
        fill(host, base, tmp_path)
