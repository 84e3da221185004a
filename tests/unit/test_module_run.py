"""The collection's modules, run as Ansible runs them, with the commands they call replaced."""

from __future__ import annotations

import ast
import hashlib
import http.server
import json
import os
import threading
import time
from functools import partial

import pytest
import yaml
from ansible.module_utils import basic

from tests.unit.roles_support import (
    COLLECTION,
    calls,
    documented,
    fake_command,
    plugin,
    run_module,
)
from tests.unit.test_module_pure import SITE, ZONE, armour

MODULES = sorted(p.stem for p in (COLLECTION / "plugins/modules").glob("*.py"))
OURS = [name for name in MODULES if name not in ("node_lock", "packages", "access")]


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """A folder for fake commands, alone on the path but for the shell's own tools."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    real = basic.get_bin_path

    def only_ours(arg, opt_dirs=None, required=None):
        del opt_dirs, required
        if (folder / arg).exists():
            return str(folder / arg)
        if arg in ("rpm", "podman", "firewall-cmd", "systemctl", "journalctl"):
            raise ValueError(f"no {arg} in this test")
        return real(arg)

    monkeypatch.setattr(basic, "get_bin_path", only_ours)
    return folder


@pytest.fixture
def as_us(monkeypatch):
    """Files that root would own belong to whoever runs the test."""
    wholefile = plugin("module_utils", "wholefile")
    mine = (wholefile.user_name(os.getuid()), wholefile.group_name(os.getgid()))
    monkeypatch.setattr(wholefile, "owner_ids", lambda owner, group: (os.getuid(), os.getgid()))
    config_files = plugin("modules", "config_files")
    monkeypatch.setattr(config_files, "owner_ids", lambda owner, group: (os.getuid(), os.getgid()))
    return {"owner": mine[0], "group": mine[1]}


class TestEveryModule:
    @pytest.mark.parametrize("name", MODULES)
    def test_is_python_39(self, name):
        text = (COLLECTION / "plugins/modules" / f"{name}.py").read_text()
        ast.parse(text, feature_version=(3, 9))

    @pytest.mark.parametrize("path", sorted((COLLECTION / "plugins/module_utils").rglob("*.py")))
    def test_so_is_what_they_share(self, path):
        ast.parse(path.read_text(), feature_version=(3, 9))

    @pytest.mark.parametrize("name", OURS)
    def test_documents_exactly_its_options(self, name):
        module = plugin("modules", name)
        told = documented(module)
        assert told["module"] == name
        assert _shape(module.ARGUMENTS, "options") == _shape(told["options"], "suboptions")
        assert {"check_mode", "diff_mode", "platform"} <= set(told["attributes"])
        assert yaml.safe_load(module.EXAMPLES)
        assert yaml.safe_load(module.RETURN)


def _shape(options, nested):
    """Type, default, choices and suboptions of each option, whoever wrote them down."""
    kept = {}
    for name, option in options.items():
        entry = {key: option[key] for key in ("type", "elements", "choices") if key in option}
        entry["required"] = bool(option.get("required"))
        entry["default"] = option.get("default")
        if nested in option:
            entry["options"] = _shape(option[nested], nested)
        kept[name] = entry
    return kept


class TestConfigFiles:
    def test_check_mode_says_what_the_run_does_and_the_second_run_nothing(self, tmp_path, as_us):
        files = [
            {"path": str(tmp_path / "deep/er/a.conf"), "content": "x = 1\n", **as_us},
            {"path": str(tmp_path / "d"), "state": "directory", "mode": "0700", **as_us},
        ]
        told = run_module("config_files", {"files": files}, check=True)
        assert not (tmp_path / "deep").exists()
        done = run_module("config_files", {"files": files})
        assert told["changed"]
        assert told.changes == done.changes
        assert told["diff"] == done["diff"]
        again = run_module("config_files", {"files": files})
        assert (again["changed"], again["paths"]) == (False, [])

    def test_a_mode_that_drifted_is_put_right_without_a_write(self, tmp_path, as_us):
        path = tmp_path / "a"
        path.write_text("x")
        path.chmod(0o666)
        files = [{"path": str(path), "content": "x", **as_us}]
        done = run_module("config_files", {"files": files})
        assert done.changes == [f"set mode 0644 on {path}"]
        assert path.stat().st_mode & 0o7777 == 0o644

    def test_a_link_is_replaced_and_what_it_points_to_stays(self, tmp_path, as_us):
        (tmp_path / "real").write_text("mine")
        (tmp_path / "a").symlink_to("real")
        run_module("config_files", {"files": [{"path": str(tmp_path / "a"), **as_us}]})
        assert (tmp_path / "real").read_text() == "mine"
        assert not (tmp_path / "a").is_symlink()

    def test_absent_removes_and_is_then_content(self, tmp_path):
        (tmp_path / "a").write_text("old")
        files = [{"path": str(tmp_path / "a"), "state": "absent"}]
        assert run_module("config_files", {"files": files}, check=True)["changed"]
        assert run_module("config_files", {"files": files}).changes == [f"remove {tmp_path / 'a'}"]
        assert not run_module("config_files", {"files": files})["changed"]

    def test_a_directory_in_the_way_is_a_clear_error(self, tmp_path, as_us):
        done = run_module("config_files", {"files": [{"path": str(tmp_path), **as_us}]})
        assert done["failed"]
        assert "should be a file and is a directory" in done["msg"]


CHRONY = {"name": "chrony", "epoch": 0, "version": "4.6", "release": "1", "arch": "x86_64"}


class TestRpmState:
    def test_says_what_is_missing(self, commands):
        fake_command(commands, "rpm", 'echo "package chrony is not installed"; exit 1')
        done = run_module("rpm_state", {"packages": [CHRONY]})
        assert done["pending"] == ["install chrony-0:4.6-1.x86_64"]

    def test_asks_nothing_when_nothing_is_wanted(self, commands):
        assert run_module("rpm_state", {"packages": []})["missing"] == []
        assert calls(commands) == []

    def test_no_rpm_is_a_failure_and_not_an_empty_answer(self, commands):
        assert run_module("rpm_state", {"packages": [CHRONY]})["failed"]


class TestRpmTransaction:
    def test_what_the_lock_does_not_name_is_refused(self):
        module = plugin("modules", "rpm_transaction")
        locked = {"a-0:1-1.noarch": "11", "b-0:1-1.noarch": "22"}
        found = [("a-0:1-1.noarch", "11", "r"), ("b-0:1-1.noarch", "33", "r"), ("c", "44", "r")]
        wrong = module.judge(found, locked)
        assert len(wrong) == 2
        assert "sha256 33, the stack lock names 22" in wrong[0]
        assert "c from r is not in the stack lock" in wrong[1]

    def test_a_package_whose_digest_cannot_be_compared_is_refused(self):
        module = plugin("modules", "rpm_transaction")
        assert module.judge([("a", "", "r")], {"a": ""}) == []
        assert "no sha256" in module.judge([("a", "", "r")], {"a": "11"})[0]


class TestRpmKeys:
    def test_a_key_that_is_not_what_it_says_is_refused_before_anything(self, commands, tmp_path):
        fake_command(commands, "rpm", "exit 1")
        key = {"name": "k", "fingerprint": "AB" * 20, "armored": armour(b"\x04key")}
        done = run_module("rpm_keys", {"keys": [key], "directory": str(tmp_path / "pki")})
        assert done["failed"]
        assert "the stack lock names" in done["msg"]
        assert calls(commands) == []
        assert not (tmp_path / "pki").exists()

    def test_a_known_key_is_not_imported_again(self, commands, tmp_path, as_us):
        del as_us
        text = armour(b"\x04key")
        found = plugin("module_utils", "openpgp").fingerprint(text)
        (tmp_path / "db").write_text(text)
        fake_command(commands, "rpm", f"cat {tmp_path / 'db'}")
        keys = [{"name": "k", "fingerprint": found.lower(), "armored": text}]
        arguments = {"keys": keys, "directory": str(tmp_path / "pki")}
        done = run_module("rpm_keys", arguments)
        assert done.changes == [f"write {tmp_path / 'pki/RPM-GPG-KEY-k'}"]
        assert not any("--import" in call for call in calls(commands))

    def test_a_short_id_that_collides_is_not_enough(self, commands, tmp_path, as_us):
        del as_us
        fake_command(commands, "rpm", 'echo "another key"')
        text = armour(b"\x04key")
        found = plugin("module_utils", "openpgp").fingerprint(text)
        arguments = {
            "keys": [{"name": "k", "fingerprint": found, "armored": text}],
            "directory": str(tmp_path),
        }
        told = run_module("rpm_keys", arguments, check=True)
        assert told.changes[1] == f"trust key k ({found[-16:]})"
        assert not any("--import" in call for call in calls(commands))
        run_module("rpm_keys", arguments)
        assert calls(commands)[-1] == f"rpm --import {tmp_path}/RPM-GPG-KEY-k"


class TestRpmRepositories:
    def test_others_are_switched_off_and_ours_is_written(self, tmp_path, as_us, monkeypatch):
        del as_us
        (tmp_path / "other.repo").write_text("[x]\nenabled=1\n[keep]\nenabled=1\n")
        arguments = {
            "repositories": [SITE],
            "file": str(tmp_path / "holdfast.repo"),
            "keep": ["keep"],
        }
        told = run_module("rpm_repositories", arguments, check=True)
        done = run_module("rpm_repositories", arguments)
        assert told.changes == done.changes
        assert done.changes[1] == f"disable x in {tmp_path / 'other.repo'}"
        repofile = plugin("module_utils", "repofile")
        assert repofile.enabled((tmp_path / "other.repo").read_text()) == ["keep"]

    def test_report_changes_nothing(self, tmp_path, as_us):
        del as_us
        text = "[x]\nenabled=1\n"
        (tmp_path / "other.repo").write_text(text)
        arguments = {"repositories": [], "file": str(tmp_path / "h.repo"), "others": "report"}
        done = run_module("rpm_repositories", arguments)
        assert (done["changed"], done["others"]) == (False, ["x"])
        assert (tmp_path / "other.repo").read_text() == text


SHOW = """Id={name}
LoadState={load}
UnitFileState=enabled
ActiveState={active}
SubState=running
NeedDaemonReload={stale}
ConditionResult=yes
Result=success
ExecMainStartTimestampMonotonic={start}
ActiveEnterTimestampMonotonic={start}
"""


def show(commands, *, load="loaded", active="active", stale="no", age=60.0):
    start = int((time.monotonic() - age) * 1_000_000)
    text = SHOW.format(name="a.service", load=load, active=active, stale=stale, start=start)
    fake_command(commands, "systemctl", f"[ $1 = show ] && cat <<'X'\n{text}\nX\nexit 0")


class TestServices:
    def arguments(self, **more):
        wanted = {"name": "a.service", "enabled": True, "state": "started", **more}
        return {"units": [wanted]}

    def test_a_running_unit_is_left_alone(self, commands, tmp_path):
        show(commands)
        path = tmp_path / "conf"
        path.write_text("")
        os.utime(path, (time.time() - 3600,) * 2)
        done = run_module("services", self.arguments(restart_if_newer=[str(path)]))
        assert done["changed"] is False
        assert len(calls(commands)) == 1

    def test_a_file_newer_than_the_start_restarts_it_also_in_a_later_run(self, commands, tmp_path):
        show(commands)
        path = tmp_path / "conf"
        path.write_text("")
        arguments = self.arguments(restart_if_newer=[str(path)])
        told = run_module("services", arguments, check=True)
        done = run_module("services", arguments)
        assert told.changes == done.changes == [f"restart a.service ({path} is newer)"]
        assert "systemctl restart -- a.service" in calls(commands)

    def test_check_mode_counts_files_that_would_be_written(self, commands):
        show(commands)
        arguments = self.arguments(restart_if_newer=["/nope"])
        told = run_module("services", {**arguments, "pending": ["/nope"]}, check=True)
        assert told.changes == ["restart a.service (/nope is newer)"]

    def test_a_newer_secret_restarts_it(self, commands):
        show(commands)
        told = run_module("services", self.arguments(restart_if_after=time.time()), check=True)
        assert told.changes == ["restart a.service (a secret is newer)"]

    def test_a_clock_set_back_does_not_restart_for_ever(self, commands, tmp_path):
        show(commands)
        path = tmp_path / "conf"
        path.write_text("")
        os.utime(path, (time.time() + 7200,) * 2)
        run_module("services", self.arguments(restart_if_newer=[str(path)]))
        assert path.stat().st_mtime <= time.time()

    def test_a_unit_that_is_still_to_come_will_be_started(self, commands):
        show(commands, load="not-found", active="inactive")
        told = run_module("services", self.arguments(expected=True), check=True)
        assert told.changes == ["start a.service"]
        assert run_module("services", self.arguments(), check=True)["failed"]

    def test_a_unit_that_is_still_to_come_and_not_to_be_started_is_enabled(self, commands):
        show(commands, load="not-found", active="inactive")
        arguments = self.arguments(expected=True)
        del arguments["units"][0]["state"]
        told = run_module("services", arguments, check=True)
        assert told.changes == ["enable a.service"]

    def test_a_unit_that_does_not_come_up_is_an_error(self, commands):
        show(commands, active="failed")
        done = run_module("services", self.arguments())
        assert done["failed"]
        assert "a.service was started and is failed" in done["msg"]
        assert "systemctl reset-failed -- a.service" in calls(commands)

    def test_stale_units_are_read_again(self, commands):
        show(commands, stale="yes")
        run_module("services", self.arguments())
        assert "systemctl daemon-reload" in calls(commands)


class TestFirewall:
    def test_a_port_opened_by_hand_is_closed_and_other_owners_stay(self, commands, tmp_path, as_us):
        del as_us
        (tmp_path / "zone").write_text(ZONE)
        fake_command(commands, "firewall-cmd", f"cat {tmp_path / 'zone'}")
        records = tmp_path / "records"
        records.mkdir()
        rule = 'rule family="ipv4" source address="192.0.2.0/24" port port="8443"'
        rule += ' protocol="tcp" accept'
        entries = {"zone": "public", "entries": [["rich-rule", rule]]}
        (records / "inference.json").write_text(json.dumps(entries))
        arguments = {
            "owner": "base",
            "services": ["ssh"],
            "exclusive": True,
            "records": str(records),
        }
        told = run_module("firewall", arguments, check=True)
        assert not any("--remove" in call for call in calls(commands))
        done = run_module("firewall", arguments)
        assert told.changes == done.changes
        assert "no longer let in port 9999/tcp" in done.changes
        assert not any("8443" in change for change in done.changes)
        assert not any("remove-rich-rule" in call for call in calls(commands))

    def test_a_stopped_firewall_is_read_in_check_mode_and_fails_a_run(self, commands, tmp_path):
        fake_command(commands, "firewall-cmd", "echo not running >&2; exit 252")
        fake_command(commands, "firewall-offline-cmd", f"echo; touch {tmp_path / 'asked'}")
        arguments = {
            "owner": "inference",
            "rules": [{"port": 8443, "sources": ["192.0.2.0/24"]}],
            "expected": True,
            "records": str(tmp_path),
        }
        told = run_module("firewall", arguments, check=True)
        assert "8443" in told.changes[0]
        assert run_module("firewall", arguments)["failed"]

    def test_before_its_installation_only_an_exclusive_owner_depends(self, commands, tmp_path):
        assert not calls(commands)
        arguments = {"owner": "x", "services": ["ssh"], "expected": True, "records": str(tmp_path)}
        told = run_module("firewall", arguments, check=True)
        assert told.changes == ["let in service ssh"]
        assert "holdfast_depends" not in told
        told = run_module("firewall", {**arguments, "exclusive": True}, check=True)
        assert told["holdfast_depends"]

    def test_a_source_that_is_no_network_is_refused(self, commands, tmp_path):
        arguments = {"owner": "x", "rules": [{"port": 1, "sources": ["all"]}]}
        assert "not a network" in run_module("firewall", arguments)["msg"]


class TestPodmanSecret:
    def test_values_go_by_standard_input_and_unchanged_ones_stay(self, commands, tmp_path):
        held = [{"Spec": {"Name": "same"}, "SecretData": "s1", "UpdatedAt": "2026-11-23T03:00:00Z"}]
        (tmp_path / "held").write_text(json.dumps(held))
        fake_command(
            commands,
            "podman",
            f'case "$2" in ls) echo same;; inspect) cat {tmp_path / "held"};;'
            f" create) cat > {tmp_path / 'got'};; esac",
        )
        secrets = [{"name": "same", "value": "s1"}, {"name": "new", "value": "canary-one"}]
        told = run_module("podman_secret", {"secrets": secrets}, check=True)
        done = run_module("podman_secret", {"secrets": secrets})
        assert told.changes == done.changes == ["create secret new"]
        assert (tmp_path / "got").read_text() == "canary-one"
        assert "canary-one" not in json.dumps(done) + "".join(calls(commands))

    def test_the_last_change_is_returned(self, commands, tmp_path):
        held = [{"Spec": {"Name": "a"}, "SecretData": "v", "UpdatedAt": "2026-11-23T03:00:00Z"}]
        (tmp_path / "held").write_text(json.dumps(held))
        script = f'case "$2" in ls) echo a;; inspect) cat {tmp_path / "held"};; esac'
        fake_command(commands, "podman", script)
        done = run_module("podman_secret", {"secrets": [{"name": "a", "value": "v"}]})
        assert (done["changed"], done["updated_at"]) == (False, 1795402800.0)


@pytest.fixture
def origin(tmp_path):
    """A web server over a folder of its own; gives folder and address."""
    folder = tmp_path / "origin"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *words):
            del words

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(Quiet, directory=str(folder))
    )
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


class TestModelFiles:
    @pytest.fixture
    def model(self, origin, tmp_path, monkeypatch, as_us):
        del as_us
        modeldir = plugin("module_utils", "modeldir")
        monkeypatch.setattr(modeldir, "_right", lambda path, mode: True)
        monkeypatch.setattr(os, "chown", lambda *words, **more: None)
        (origin[0] / "tiny").mkdir()
        (origin[0] / "tiny/a.gguf").write_bytes(b"weights")
        return {
            "name": "tiny",
            "directory": str(tmp_path / "srv/tiny"),
            "url": origin[1] + "/tiny",
            "files": [
                {"path": "a.gguf", "sha256": hashlib.sha256(b"weights").hexdigest(), "size": 7}
            ],
            "manifest": str(tmp_path / "etc/tiny.sha256"),
        }

    def test_a_model_arrives_whole_and_the_second_look_changes_nothing(self, model, tmp_path):
        told = run_module("model_files", model, check=True)
        assert not (tmp_path / "srv").exists()
        done = run_module("model_files", model)
        assert told.changes == done.changes
        assert (tmp_path / "srv/tiny/a.gguf").read_bytes() == b"weights"
        assert (tmp_path / "srv/tiny/a.gguf").stat().st_mode & 0o777 == 0o444
        assert run_module("model_files", model)["changed"] is False or os.getuid() != 0

    def test_other_content_than_the_lock_names_never_appears(self, model, origin, tmp_path):
        (origin[0] / "tiny/a.gguf").write_bytes(b"w31ghts")
        done = run_module("model_files", model)
        assert done["failed"]
        assert "is not what the stack lock names" in done["msg"]
        assert list((tmp_path / "srv/tiny").iterdir()) == []

    def test_an_origin_that_is_gone_is_named(self, model):
        done = run_module("model_files", {**model, "url": "http://127.0.0.1:9/x"})
        assert done["failed"]
        assert "127.0.0.1:9/x/a.gguf cannot be fetched" in done["msg"]

    def test_a_file_too_many_stops_or_goes(self, model, tmp_path):
        run_module("model_files", model)
        extra = tmp_path / "srv/tiny/evil.py"
        extra.write_text("")
        done = run_module("model_files", model)
        assert done["failed"]
        assert "evil.py" in done["msg"]
        assert run_module("model_files", model, check=True)["failed"]
        done = run_module("model_files", {**model, "extra": "remove"})
        assert done.changes == [f"remove {extra}"]
        assert not extra.exists()

    def test_a_path_that_leaves_the_directory_is_refused(self, model):
        files = [{"path": "../x", "sha256": "0", "size": 1}]
        assert run_module("model_files", {**model, "files": files})["failed"]


class TestPodmanImage:
    def test_an_archive_with_another_digest_is_never_loaded(self, commands, origin, tmp_path):
        (origin[0] / "x.tar").write_bytes(b"tampered")
        fake_command(commands, "podman", "exit 1")
        arguments = {
            "reference": "localhost/x",
            "digest": "sha256:1",
            "archive_url": origin[1] + "/x.tar",
            "archive_sha256": "0" * 64,
            "directory": str(tmp_path / "archives"),
        }
        told = run_module("podman_image", arguments, check=True)
        assert told.changes == ["load image localhost/x@sha256:1"]
        done = run_module("podman_image", arguments)
        assert done["failed"]
        assert not any(call.startswith("podman load") for call in calls(commands))
        assert list((tmp_path / "archives").iterdir()) == []


class TestPodmanWithoutItsHelpers:
    """podman is there, and ends every command with 125: its network helper was removed."""

    @pytest.fixture(autouse=True)
    def _broken(self, commands):
        fake_command(commands, "podman", "echo 'could not find netavark' >&2; exit 125")

    def test_a_plan_goes_on_when_packages_are_about_to_come(self):
        assert not run_module("podman_info", {"expected": True}, check=True).get("failed")
        told = run_module("podman_info", {"expected": False}, check=True)
        assert "could not find netavark" in told["msg"]
        assert run_module("podman_info", {"expected": True})["failed"]

    def test_what_it_holds_depends_on_that(self):
        image = {"reference": "localhost/x", "digest": "sha256:1"}
        archive = {"archive_url": "http://127.0.0.1:9/x.tar", "archive_sha256": "0" * 64}
        assert run_module("podman_image", image | archive, check=True)["holdfast_depends"]
        secrets = {"secrets": [{"name": "a", "value": "v"}]}
        assert run_module("podman_secret", secrets, check=True)["holdfast_depends"]
        assert run_module("podman_secret", secrets)["failed"]


class TestRebootRequired:
    def test_a_package_newer_than_the_start_asks_until_it_no_longer_is(self, commands, tmp_path):
        when = tmp_path / "when"
        when.write_text("9999999999")
        fake_command(commands, "rpm", f'echo "glibc|0|2|1|x86_64|$(cat {when})"')
        arguments = {"name": "base", "packages": ["glibc"], "directory": str(tmp_path / "notes")}
        told = run_module("reboot_required", arguments, check=True)
        assert told["reasons"] == ["glibc is newer than the last start"]
        if os.getuid() != 0:
            return
        assert run_module("reboot_required", arguments).changes == told.changes
        assert run_module("reboot_required", arguments)["changed"] is False
        when.write_text("1")
        assert run_module("reboot_required", arguments).changes == ["no longer ask for a restart"]
        assert list((tmp_path / "notes").iterdir()) == []

    def test_check_mode_counts_what_would_be_installed(self, commands, tmp_path):
        fake_command(commands, "rpm", "exit 1")
        arguments = {
            "name": "base",
            "packages": ["systemd"],
            "installed": ["systemd", "chrony"],
            "directory": str(tmp_path),
        }
        assert run_module("reboot_required", arguments, check=True)["changed"]


class TestPreflight:
    def test_it_returns_every_field_that_it_documents(self, commands):
        fake_command(commands, "systemd-detect-virt", "echo none")
        seen = run_module("preflight", {})["holdfast_preflight"]
        documented = yaml.safe_load(plugin("modules", "preflight").RETURN)
        assert set(seen) == set(documented["holdfast_preflight"]["contains"])
        assert seen["virtualization"] == "none"
