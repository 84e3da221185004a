"""What a pass says in an image is what it does there: nothing is started, nothing of the builder
counts, and what would not start is refused."""

from __future__ import annotations

import pytest

from tests.unit.hardening_support import Run, System, control
from tests.unit.roles_support import plugin

options = plugin("module_utils", "firewalld").options
refusal = plugin("module_utils.hardening", "refusal")


@pytest.fixture
def system(tmp_path):
    return System(tmp_path)


def test_a_service_is_switched_on_and_not_started(system):
    system.unit("firewalld.service")
    wants = [control({"type": "service", "name": "firewalld.service", "state": "enabled"})]
    system.write("/usr/lib/systemd/system/firewalld.service", "[Unit]\n")
    offline = Run(system, wants, offline=True)
    assert not any("start" in line for line in offline.said)
    assert any("start firewalld.service" in line for line in Run(system, wants).said)


def test_an_image_gets_no_database_of_aide(system):
    system.write("/etc/aide.conf", "@@define DBDIR /var/lib/aide\n")
    system.program("aide")
    wants = [control({"type": "aide_database"})]
    assert Run(system, wants, offline=True).said == []
    assert Run(system, wants).said == ["c: make the first database of AIDE"]


def test_what_the_builder_has_mounted_counts_for_nothing(system):
    row = "tmpfs /dev/shm tmpfs rw,uid=1001,gid=1001 0 0\n"
    system.write("/proc/self/mounts", row + "tmpfs /srv tmpfs rw 0 0\n")
    options_ = ["nodev", "nosuid"]
    wants = [
        control({"type": "mount", "path": path, "options": options_}, name=name)
        for path, name in (("/dev/shm", "shm"), ("/srv", "srv"))
    ]
    assert Run(system, wants, offline=True).commit() == []
    fields = system.read("/etc/fstab").split()
    assert fields == ["tmpfs", "/dev/shm", "tmpfs", "defaults,nodev,nosuid", "0", "0"]


def test_options_that_the_server_would_not_start_with_are_refused_without_a_login(system):
    system.program("sshd")
    system.write("/etc/ssh/sshd_config", "Include /etc/ssh/sshd_config.d/*.conf\n")
    asked = []

    def sshd(argv, data):
        asked.append(argv)
        return 255, "Bad configuration option: Nonsense"

    system._sshd = sshd
    wants = [control({"type": "sshd", "option": "PermitRootLogin", "value": "no"})]
    wrong = refusal.refusals(Run(system, wants, offline=True).node, None)
    assert "the SSH server would not start: Bad configuration option" in wrong[0]
    # An image has no host key, and gets one for this question alone.
    assert asked[0][-2] == "-h"


@pytest.mark.parametrize(
    ("offline", "word"),
    [(False, "--remove-service=cockpit"), (True, "--remove-service-from-zone=cockpit")],
)
def test_a_service_is_taken_out_of_a_zone_by_the_tools_own_option(offline, word):
    assert options("remove", [("service", "cockpit")], offline) == [[word]]
    assert options("add", [("service", "ssh")], offline) == [["--add-service=ssh"]]
