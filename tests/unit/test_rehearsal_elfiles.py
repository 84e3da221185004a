"""What a node has as EL has it: files, accounts and PAM, each owned by an RPM of that name."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

import pytest

from provision.rehearsal import base, elfiles, rpms
from provision.rehearsal.recipe import load_recipe


def test_files_are_laid_out_for_the_packages_that_are_there(tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/sudoers").write_text("%sudo ALL=(ALL:ALL) ALL\n")
    elfiles.lay_out(tmp_path, ["sudo", "aide"])
    assert "%wheel" in (tmp_path / "etc/sudoers").read_text()
    assert stat.S_IMODE((tmp_path / "etc/sudoers").stat().st_mode) == 0o440
    assert stat.S_IMODE((tmp_path / "usr/sbin/aide").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "var/lib/aide").stat().st_mode) == 0o700
    assert not (tmp_path / "etc/crontab").exists()


def test_every_path_belongs_to_one_package():
    owners: dict[str, str] = {}
    for package in elfiles.packages():
        for path in elfiles.paths_of(package):
            assert path.startswith("/")
            assert owners.setdefault(path, package) == package
    assert owners["/etc/bashrc"] == "setup"
    assert owners["/var/lib/rsyslog"] == "rsyslog"


def test_every_package_with_files_is_on_a_node_or_in_its_repository():
    recipe = load_recipe()
    known = {recipe.el_name(name) for name in (*recipe.base, *recipe.repository)}
    # What comes as a dependency, and the one package that nothing of Debian stands for.
    known |= {"bash", "crontabs", "pam", "authselect-libs", "shadow-utils", "util-linux", "setup"}
    assert {*elfiles.packages()} <= known


def test_another_text_makes_another_cache_entry(monkeypatch, tmp_path):
    before = elfiles.texts()
    (tmp_path / "setup/etc").mkdir(parents=True)
    (tmp_path / "setup/etc/profile").write_text("x")
    monkeypatch.setattr(elfiles, "FOLDER", tmp_path)
    assert elfiles.texts() != before


@pytest.mark.parametrize(
    ("line", "becomes"),
    [
        ("@include common-auth", "auth       include      system-auth"),
        ("@include common-session-noninteractive ", "session    include      system-auth"),
        ("# @include common-auth", "# @include common-auth"),
        ("auth required pam_deny.so", "auth required pam_deny.so"),
    ],
)
def test_no_service_includes_what_only_debian_has(line, becomes):
    assert elfiles.pam_as_el(f"a\n{line}\nb\n") == f"a\n{becomes}\nb\n"


def test_services_of_a_tree_are_changed_and_links_left_alone(tmp_path):
    services = tmp_path / "etc/pam.d"
    services.mkdir(parents=True)
    (services / "polkit-1").write_text("@include common-account\n")
    (services / "system-auth").symlink_to("/etc/authselect/system-auth")
    elfiles.include_as_el(tmp_path)
    assert (services / "polkit-1").read_text() == "account    include      system-auth\n"
    assert (services / "system-auth").is_symlink()


def test_what_el_lacks_is_left_out(tmp_path):
    for name in ("etc/pam.d/common-auth", "etc/pam.d/sshd", "etc/init.d/cron", "etc/bash.bashrc"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    elfiles.leave_out(tmp_path, load_recipe())
    assert [str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()] == [
        "etc/pam.d/sshd"
    ]


DEB = rpms.Package("shadow-utils", "shadow", "1:4.17-1", "Accounts", "BSD", ("/usr/bin/passwd",))


def test_several_debian_packages_make_one_rpm():
    other = replace(DEB, debian_version="2-1", paths=("/etc/login.defs",), requires=("a",))
    alone = replace(DEB, name="bash", paths=("/bin/bash",))
    made = rpms.merged([DEB, alone, other])
    assert [one.name for one in made] == ["shadow-utils", "bash"]
    assert made[0].paths == ("/usr/bin/passwd", "/etc/login.defs")
    assert (made[0].debian_version, made[0].requires) == ("1:4.17-1", ("a",))


def test_a_package_says_where_its_files_come_from():
    assert "Debian's shadow 1:4.17-1" in DEB.origin
    assert replace(DEB, source="").origin == "Made for a Holdfast rehearsal node."


def test_the_release_is_no_ones_but_the_rehearsals():
    made = {one.name: one for one in base._own("9")}
    assert made["redhat-release"].version == "9.7"
    assert "no release of Red Hat's" in made["redhat-release"].summary
    assert all(one.paths for one in made.values()), "an RPM without a file stands for nothing"


def test_each_el_name_is_a_name():
    recipe = load_recipe()
    for name in (*recipe.el_names.values(), *recipe.unpacked):
        assert name
        assert not Path(name).is_absolute()
        assert " " not in name
