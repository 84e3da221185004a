"""What the collection works out without touching a node."""

from __future__ import annotations

import base64
import hashlib
import json

import pytest

from tests.unit.roles_support import plugin

rpm = plugin("module_utils", "rpm")
openpgp = plugin("module_utils", "openpgp")
repofile = plugin("module_utils", "repofile")
units = plugin("module_utils", "units")
firewalld = plugin("module_utils", "firewalld")
podman = plugin("module_utils", "podman")
modeldir = plugin("module_utils", "modeldir")
probe = plugin("module_utils", "probe")

CHRONY = {"name": "chrony", "epoch": 0, "version": "4.6", "release": "1.el10", "arch": "x86_64"}


class TestRpm:
    def test_names_a_package_with_its_epoch(self):
        assert rpm.nevra({**CHRONY, "epoch": None}) == "chrony-0:4.6-1.el10.x86_64"

    def test_reads_what_rpm_prints_and_leaves_the_rest(self):
        text = "chrony|0|4.6|1.el10|x86_64|1700000000\npackage nope is not installed\n"
        (found,) = rpm.parse_query(text)
        assert (found.nevra, found.installed) == ("chrony-0:4.6-1.el10.x86_64", 1700000000)

    def test_nothing_to_do_when_the_exact_version_is_there(self):
        found = rpm.compare([CHRONY], [], rpm.parse_query("chrony|0|4.6|1.el10|x86_64|1\n"))
        assert (found.missing, found.changes) == ([], [])

    def test_another_version_is_replaced_and_said_so(self):
        found = rpm.compare([CHRONY], [], rpm.parse_query("chrony|0|4.5|1.el10|x86_64|1\n"))
        assert found.missing == [CHRONY]
        assert found.changes == [
            "install chrony-0:4.6-1.el10.x86_64 in place of chrony-0:4.5-1.el10.x86_64"
        ]

    def test_a_kernel_beside_another_is_enough(self):
        text = "chrony|0|4.5|1.el10|x86_64|1\nchrony|0|4.6|1.el10|x86_64|2\n"
        assert rpm.compare([CHRONY], [], rpm.parse_query(text)).changes == []

    def test_an_unwanted_package_is_named(self):
        found = rpm.compare([], ["telnet"], rpm.parse_query("telnet|1|0.17|1|x86_64|1\n"))
        assert found.unwanted == ["telnet"]
        assert found.changes == ["remove telnet-1:0.17-1.x86_64"]


def armour(body: bytes, *, tag: int = 6, checksum: str = "=abcd") -> str:
    packet = bytes([0xC0 | tag]) + (
        bytes([len(body)]) if len(body) < 192 else b"\xff" + len(body).to_bytes(4, "big")
    )
    text = base64.b64encode(packet + body).decode()
    return (
        "-----BEGIN PGP PUBLIC KEY BLOCK-----\nComment: a test\n\n"
        f"{text}\n{checksum}\n-----END PGP PUBLIC KEY BLOCK-----\n"
    )


class TestOpenPgp:
    BODY = b"\x04" + bytes(range(100))

    def test_a_version_four_fingerprint_is_the_sha1_of_the_packet(self):
        head = b"\x99" + len(self.BODY).to_bytes(2, "big")
        expected = hashlib.sha1(head + self.BODY).hexdigest().upper()
        assert openpgp.fingerprint(armour(self.BODY)) == expected

    def test_a_version_six_fingerprint_has_64_digits(self):
        assert len(openpgp.fingerprint(armour(b"\x06" + bytes(250)))) == 64

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("", "no armoured"),
            (armour(BODY, tag=2), "not a public key"),
            (armour(b"\x03" + bytes(20)), "version 3"),
            (armour(BODY).replace("AAECAw", "AAE(Aw"), "damaged"),
            (armour(BODY)[:60] + "\n-----END PGP PUBLIC KEY BLOCK-----", "packet|cut|damaged|no"),
        ],
    )
    def test_anything_else_is_an_error_and_not_a_fingerprint(self, text, says):
        with pytest.raises(ValueError, match=says):
            openpgp.fingerprint(text)

    def test_all_keys_of_a_text(self):
        text = "junk\n" + armour(self.BODY) + "more\n" + armour(b"\x04other")
        assert len(openpgp.fingerprints(text)) == 2


SITE = {"id": "a", "name": "A", "baseurl": "http://mirror/a", "key": "site"}
SERVICE = {"enabled": True, "state": "started"}


class TestRepositoryFile:
    def test_signatures_are_always_checked(self):
        text = repofile.render([SITE], "/keys")
        assert "gpgcheck=1\nrepo_gpgcheck=1\ngpgkey=file:///keys/RPM-GPG-KEY-site\n" in text
        assert repofile.enabled(text) == ["a"]

    def test_without_a_word_a_repository_is_enabled(self):
        assert repofile.enabled("[x]\nname=x\n[y]\nenabled = 0\n[main]\n") == ["x"]

    def test_disable_touches_only_what_it_names(self):
        before = "# hello\n[x]\nname=x\nenabled=1\n[y]\nenabled=1\n"
        after = repofile.disable(before, {"x"})
        assert repofile.enabled(after) == ["y"]
        assert after == "# hello\n[x]\nenabled=0\nname=x\n[y]\nenabled=1\n"

    def test_remarks_hide_no_repository(self):
        before = "[x] # vendor\nenabled=1 ; yes\n[y]\nenabled=0\n"
        assert repofile.enabled(before) == ["x"]
        after = repofile.disable(before, {"x"})
        assert repofile.enabled(after) == []
        assert "yes" not in after


def unit(**more: str) -> object:
    seen = {"LoadState": "loaded", "UnitFileState": "enabled", "ActiveState": "active"}
    return units.Unit({**seen, **more})


class TestUnits:
    def test_show_is_read_block_by_block(self):
        text = "\nId=a.service\nResult=success\n\nId=b.service\nNames=b=c\n"
        assert units.parse_show(text) == [
            {"Id": "a.service", "Result": "success"},
            {"Id": "b.service", "Names": "b=c"},
        ]

    @pytest.mark.parametrize(
        ("seen", "reasons", "verbs"),
        [
            ({}, [], []),
            ({}, ["a file is newer"], ["restart"]),
            ({"UnitFileState": "disabled"}, [], ["enable"]),
            ({"ActiveState": "failed"}, ["x"], ["start"]),
            ({"ActiveState": "activating"}, [], ["start"]),
            ({"ActiveState": "activating"}, ["newer"], ["restart"]),
            ({"UnitFileState": "generated"}, [], []),
            ({"LoadState": "masked", "UnitFileState": "masked"}, [], ["unmask", "enable"]),
        ],
    )
    def test_what_a_service_needs(self, seen, reasons, verbs):
        assert units.needed(unit(**seen), SERVICE, reasons) == verbs

    def test_a_stopped_unit_is_left_alone(self):
        wanted = {"enabled": False, "state": "stopped"}
        seen = unit(UnitFileState="disabled", ActiveState="inactive")
        assert units.needed(seen, wanted, ["newer"]) == []
        assert units.needed(unit(), wanted, []) == ["disable", "stop"]

    def test_the_start_is_that_of_the_main_process(self):
        seen = unit(
            ExecMainStartTimestampMonotonic="2000000", ActiveEnterTimestampMonotonic="9000000"
        )
        assert seen.started() == 2.0
        assert unit(ExecMainStartTimestampMonotonic="0").started() == 0.0


ZONE = """public (default, active)
  target: default
  icmp-block-inversion: no
  interfaces: host0
  sources:
  services: dhcpv6-client ssh
  ports: 9999/tcp
  protocols:
  forward: yes
  masquerade: no
  forward-ports:
\tport=80:proto=tcp:toport=8080:toaddr=
  source-ports:
  icmp-blocks:
  rich rules:
\trule family="ipv4" source address="192.0.2.0/24" port port="8443" protocol="tcp" accept
"""
RULE = 'rule family="ipv4" source address="192.0.2.0/24" port port="8443" protocol="tcp" accept'


class TestFirewall:
    def test_a_zone_is_read_whole(self):
        assert firewalld.parse_zone(ZONE) == {
            ("service", "dhcpv6-client"),
            ("service", "ssh"),
            ("port", "9999/tcp"),
            ("forward-port", "port=80:proto=tcp:toport=8080:toaddr="),
            ("rich-rule", RULE),
        }

    def test_a_rule_is_written_as_firewalld_writes_it(self):
        assert firewalld.rule(8443, "tcp", "192.0.2.0/24") == RULE
        assert 'family="ipv6" source address="2001:db8::1"' in firewalld.rule(
            1, "tcp", "2001:db8::1"
        )

    def test_no_network_is_an_error(self):
        with pytest.raises(ValueError, match="does not appear"):
            firewalld.rule(1, "tcp", "everywhere")

    def test_an_owner_takes_back_its_own_and_leaves_others(self):
        have = {("service", "ssh"), ("port", "1/tcp"), ("port", "2/tcp")}
        add, remove = firewalld.plan(
            have, {("port", "3/tcp")}, {("port", "1/tcp")}, {("service", "ssh")}, exclusive=False
        )
        assert (add, remove) == ([("port", "3/tcp")], [("port", "1/tcp")])

    def test_an_exclusive_owner_closes_what_nobody_asked_for(self):
        have = {("service", "ssh"), ("port", "9999/tcp"), ("rich-rule", RULE)}
        add, remove = firewalld.plan(
            have, {("service", "ssh")}, set(), {("rich-rule", RULE)}, exclusive=True
        )
        assert (add, remove) == ([], [("port", "9999/tcp")])

    def test_options_keep_kinds_apart(self):
        found = firewalld.options("add", [("port", "1/tcp"), ("service", "ssh"), ("port", "2/tcp")])
        assert found == [["--add-port=1/tcp", "--add-port=2/tcp"], ["--add-service=ssh"]]


class TestPodman:
    @pytest.mark.parametrize(
        ("text", "seconds"),
        [
            ("2026-11-23T03:00:00.123456789Z", 1795402800.0),
            ("2026-11-23T04:00:00+01:00", 1795402800.0),
            ("2026-11-23 03:00:00.5 +0000 UTC", 1795402800.0),
            ("yesterday", 0.0),
        ],
    )
    def test_times(self, text, seconds):
        assert podman.when(text) == seconds

    def test_secrets_are_read_without_being_shown_in_errors(self):
        body = [{"Spec": {"Name": "k"}, "SecretData": "v", "UpdatedAt": "2026-11-23T03:00:00Z"}]
        assert podman.secrets(json.dumps(body)) == {"k": ("v", 1795402800.0)}
        with pytest.raises(ValueError, match="no JSON") as caught:
            podman.secrets("hunter2")
        assert "hunter2" not in str(caught.value)

    def test_versions_compare_as_numbers(self):
        assert podman.version("5.10.0-dev") > podman.version("5.4.2") > podman.MINIMUM
        assert podman.version("4.9.4") < podman.MINIMUM


class TestModelDirectory:
    @pytest.fixture
    def model(self, tmp_path, monkeypatch):
        monkeypatch.setattr(modeldir, "_right", lambda path, mode: True)
        (tmp_path / "a.gguf").write_bytes(b"weights")
        digest = hashlib.sha256(b"weights").hexdigest()
        return tmp_path, [{"path": "a.gguf", "sha256": digest, "size": 7}]

    def test_a_whole_model_needs_nothing(self, model):
        found = modeldir.look(str(model[0]), model[1])
        assert (found.fetch, found.extra, found.leftovers, found.rights) == ([], [], [], [])

    def test_one_changed_bit_is_found(self, model):
        (model[0] / "a.gguf").write_bytes(b"weightz")
        assert "sha256" in modeldir.look(str(model[0]), model[1]).reasons["a.gguf"]

    def test_extra_files_links_and_folders_are_found(self, model):
        (model[0] / "b.py").write_text("print()")
        (model[0] / "c").symlink_to("a.gguf")
        (model[0] / "d").mkdir()
        (model[0] / "x.partial.holdfast").write_text("")
        found = modeldir.look(str(model[0]), model[1])
        assert (found.extra, found.leftovers) == (["b.py", "c", "d"], ["x.partial.holdfast"])

    def test_a_link_in_place_of_a_file_is_not_that_file(self, model):
        real = model[0] / "a.gguf"
        real.rename(model[0].parent / "elsewhere")
        real.symlink_to(model[0].parent / "elsewhere")
        assert modeldir.look(str(model[0]), model[1]).reasons == {"a.gguf": "is not a regular file"}

    @pytest.mark.parametrize("path", ["", "/etc/passwd", "../x", "a/../../x", "a//b", "./a"])
    def test_a_path_stays_inside(self, path):
        assert not modeldir.safe(path)

    def test_the_manifest_is_what_sha256sum_reads(self, model):
        text = modeldir.manifest("/srv/models/tiny", model[1])
        assert text == f"{model[1][0]['sha256']}  /srv/models/tiny/a.gguf\n"


class TestProbe:
    @pytest.fixture
    def tree(self, tmp_path):
        def put(path, text):
            full = tmp_path / path
            full.parent.mkdir(parents=True, exist_ok=True)
            full.write_text(text)

        put("etc/os-release", 'ID="rocky"\nID_LIKE="rhel centos fedora"\n# x=y\nVERSION_ID=10.1\n')
        put("proc/meminfo", "MemTotal:       1048576 kB\nMemFree: 1 kB\n")
        put("sys/bus/pci/devices/0000:17:00.0/class", "0x030200\n")
        put("sys/bus/pci/devices/0000:17:00.0/vendor", "0x10de\n")
        put("sys/bus/pci/devices/0000:17:00.0/device", "0x2330\n")
        put("sys/bus/pci/devices/0000:18:00.0/class", "0x020000\n")
        put("sys/class/net/lo/operstate", "unknown")
        put("sys/class/net/eno1/operstate", "up")
        put("sys/class/net/eno1/speed", "100000")
        put("sys/class/net/eno2/operstate", "down")
        put("sys/class/net/eno2/speed", "-1")
        head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"
        line = "   0: 00000000:20FB 00000000:0000 0A 0:0 00:0 0 0 0 4242 1\n"
        put("proc/net/tcp", head + line + line.replace(" 0A ", " 01 ").replace("20FB", "0001"))
        put("proc/77/comm", "llama-server\n")
        (tmp_path / "proc/77/fd").mkdir()
        (tmp_path / "proc/77/fd/3").symlink_to("socket:[4242]")
        return tmp_path

    def test_a_node_is_read(self, tree):
        root = str(tree)
        assert probe.os_release(root)["ID"] == "rocky"
        assert probe.memory_mib(root) == 1024
        assert probe.gpus(root) == [{"address": "0000:17:00.0", "vendor": "10de", "device": "2330"}]
        assert probe.nics(root) == [
            {"name": "eno1", "speed_mbps": 100000, "up": True},
            {"name": "eno2", "speed_mbps": None, "up": False},
        ]
        assert probe.listening(root) == [{"port": 8443, "process": "llama-server"}]

    def test_what_is_not_there_is_none_and_not_a_guess(self, tmp_path):
        root = str(tmp_path)
        assert probe.memory_mib(root) is None
        assert probe.uptime(root) is None
        assert probe.secure_boot(root) == "absent"
        assert probe.node_lock(root) is None
        assert (probe.gpus(root), probe.nics(root), probe.listening(root)) == ([], [], [])

    @pytest.mark.parametrize(
        ("value", "says"), [(b"\x06\0\0\0\x01", "enabled"), (b"\x06\0\0\0\0", "disabled")]
    )
    def test_secure_boot(self, tmp_path, value, says):
        folder = tmp_path / "sys/firmware/efi/efivars"
        folder.mkdir(parents=True)
        assert probe.secure_boot(str(tmp_path)) == "unknown"
        (folder / "SecureBoot-8be4df61").write_bytes(value)
        assert probe.secure_boot(str(tmp_path)) == says

    def test_a_lock_that_cannot_be_read_is_held(self, tmp_path):
        folder = tmp_path / "run/holdfast"
        folder.mkdir(parents=True)
        (folder / "lock.json").write_text("{")
        assert probe.node_lock(str(tmp_path)) == {"run": "unknown"}
