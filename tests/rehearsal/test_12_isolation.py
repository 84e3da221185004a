"""As somebody who rehearses on the machine that I also work on I must not fear for it. A simulated
node cannot set my clock, load modules into my kernel or reach my disks; racks do not see each
other, and nothing gets out of one.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.rehearsal.conftest import SimulatedRack

pytestmark = [pytest.mark.rehearsal, pytest.mark.together("first")]

KERNEL = """
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)

def tried(name, code):
    print(name, code, errno.errorcode.get(ctypes.get_errno()))

when = (ctypes.c_long * 2)(1, 0)
tried("clock_settime", libc.clock_settime(0, when))
tried("settimeofday", libc.settimeofday(when, None))
with open("/tmp/module.ko", "wb") as stream:
    stream.write(b"not a module")
number = {"x86_64": 313, "aarch64": 273}[os.uname().machine]
tried("finit_module", libc.syscall(number, os.open("/tmp/module.ko", os.O_RDONLY), b"", 0))
# The harmless command: whether Ctrl-Alt-Del restarts the machine.
tried("reboot", libc.reboot(0))
"""

DEVICES = r"""
find /dev -type b
for number in $(awk 'NR > 2 {print $1 ":" $2}' /proc/partitions) 1:1 1:4; do
    kind=b; case $number in 1:1|1:4) kind=c;; esac
    for place in /root /srv /var/tmp; do
        mknod $place/device $kind ${number%:*} ${number#*:} 2>/dev/null &&
            head -c 1 $place/device >/dev/null 2>&1 && echo "read $kind $number in $place"
        rm -f $place/device
    done
done
(cat /proc/sys/kernel/panic >/proc/sys/kernel/panic) 2>/dev/null && echo "wrote a setting"
exit 0
"""


def test_a_node_has_no_hold_on_its_host(rack: SimulatedRack) -> None:
    before = time.time() - time.monotonic()
    said = rack.ssh("n1", f"python3 - <<'EOF'\n{KERNEL}\nEOF").out.splitlines()
    assert len(said) == 4
    for line in said:
        name, code, error = line.split()
        assert (code, error) == ("-1", "EPERM"), f"{name} was not refused: {line}"
    assert abs(time.time() - time.monotonic() - before) < 1

    found = rack.ssh("n1", DEVICES).out
    assert found == ""


def test_nothing_gets_out_of_a_rack(rack: SimulatedRack) -> None:
    inside = rack.rehearsal.inside()
    assert rack.run([*inside, "ip", "route", "show", "default"]).out == ""
    assert rack.run([*inside, "ip", "-6", "route", "show", "default"]).out == ""
    links = rack.run([*inside, "ip", "-brief", "link"]).out.splitlines()
    names = {line.split()[0].partition("@")[0] for line in links}
    own = {f"vb-{rack.rehearsal.name}-{n.index}"[:15] for n in rack.nodes}
    assert {"lo", "rack0"} <= names
    assert len(names) == 2 + len(own), names

    script = "ip -brief link; ip route; for host in 1.1.1.1 9.9.9.9 2606:4700:4700::1111; do"
    script += ' timeout 3 bash -c "exec 3<>/dev/tcp/$host/53" 2>&1 && echo reached; done; exit 0'
    said = rack.ssh("n1", script).out
    assert "reached" not in said
    assert "default" not in said
    assert {line.split()[0].partition("@")[0] for line in said.splitlines()[:2]} == {"lo", "host0"}


def test_racks_with_the_same_addresses_do_not_meet(
    rack: SimulatedRack, fresh_rack: Callable[[int], SimulatedRack]
) -> None:
    other = fresh_rack(1)
    assert other.node("n1").address == rack.node("n1").address
    # Host keys are pinned, so each login shows which node it met.
    assert rack.ssh("n1", "cat /etc/machine-id").out != other.ssh("n1", "cat /etc/machine-id").out
    # There is a second node in one rack only; its neighbour in the other has no way to it.
    probe = f"timeout 3 bash -c 'exec 3<>/dev/tcp/{rack.node('n2').address}/22'"
    assert rack.ssh("n1", probe, check=False).code == 0
    assert other.ssh("n1", probe, check=False).code != 0
    # Nor does a node see what listens on the host itself.
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        probe = f"timeout 3 bash -c 'exec 3<>/dev/tcp/127.0.0.1/{port}'"
        assert other.ssh("n1", probe, check=False).code != 0
