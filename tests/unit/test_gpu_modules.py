"""The modules that drive GPUs, run as Ansible runs them, with the commands they call replaced."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from ansible.module_utils import basic

from provision.core.events import NullSink
from provision.rehearsal.choice import Choice
from provision.rehearsal.gpu import models
from provision.rehearsal.gpu.packages import Other, _Maker
from tests.unit.roles_support import calls, fake_command, plugin, run_module

pytestmark = pytest.mark.slow

gpumodule = plugin("module_utils", "gpumodule")
mig = plugin("module_utils", "mig")
cdi = plugin("module_utils", "cdi")
DRIVER = "580.105.08"
KERNEL = "6.12.0-124.20.1.el10_1.x86_64"
OTHER = "6.12.0-55.9.1.el10_0.x86_64"
SIGNER = "Site module signing"
OURS = ("rpm", "modinfo", "dkms", "grubby", "systemctl", "nvidia-smi", "getenforce", "getsebool")
ASYMMETRIC = "0a1b I------     1 perm 1f030000     0     0 asymmetri"


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
        if arg in OURS:
            raise ValueError(f"no {arg} in this test")
        return real(arg)

    monkeypatch.setattr(basic, "get_bin_path", only_ours)
    return folder


@pytest.fixture(autouse=True)
def as_us(monkeypatch):
    """Files that root would own belong to whoever runs the test."""
    wholefile = plugin("module_utils", "wholefile")
    monkeypatch.setattr(wholefile, "owner_ids", lambda owner, group: (os.getuid(), os.getgid()))


def put(root, path, text=""):
    place = root / path.lstrip("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(text if isinstance(text, bytes) else text.encode())


def modinfo(version=DRIVER, signer=SIGNER):
    signed = f"\\nsigner:         {signer}" if signer else ""
    return f'printf "filename:       /lib/x.ko\\nversion:        {version}{signed}\\n"'


RUNNING = os.uname().release


class TestGpuModule:
    @pytest.fixture
    def node(self, tmp_path, commands):
        """A node with two kernels; both have the module."""
        root = tmp_path / "root"
        put(root, "/sys/firmware/efi/efivars/SecureBoot-1", b"\x06\0\0\0\x01")
        put(
            root,
            "/proc/keys",
            f"{ASYMMETRIC} {SIGNER}: 3f2a: X509.rsa 8f []\n",
        )
        put(root, "/proc/driver/nvidia/version", self.nvrm(DRIVER))
        rows = "\\n".join(f"kernel-core|{k}" for k in (KERNEL, OTHER))
        fake_command(commands, "rpm", f'printf "{rows}\\npackage kernel-64k-core is not there\\n"')
        fake_command(commands, "modinfo", modinfo())
        return root

    @staticmethod
    def nvrm(version):
        line = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64"
        return f"{line}  {version}  Release Build\nGCC version: gcc 14.2.1\n"

    def run(self, root, *, check=False, **more):
        given = {"driver": DRIVER, "kernels": [KERNEL], "signer": SIGNER, "root": str(root), **more}
        return run_module("gpu_module", given, check=check)

    def test_a_module_for_every_kernel_is_a_proof(self, node):
        done = self.run(node)
        assert not done.get("failed"), done
        assert not done["changed"]
        assert set(done["modules"]) == {KERNEL, OTHER}
        assert done["modules"][KERNEL] == {"version": DRIVER, "signer": SIGNER}
        assert (done["loaded"], done["spare"]) == (DRIVER, [])

    def test_a_kernel_without_its_module_is_refused_and_dkms_is_quoted(self, node, commands):
        fake_command(commands, "modinfo", "echo 'modinfo: ERROR: Module nvidia not found.'; exit 1")
        fake_command(commands, "dkms", f"echo 'nvidia-open/{DRIVER}, {OTHER}, x86_64: built'")
        done = self.run(node)
        assert done["failed"]
        assert f"kernel {KERNEL} has no nvidia module" in done["msg"]
        assert f"dkms status: nvidia-open/{DRIVER}, {OTHER}, x86_64: built" in done["msg"]
        assert "do not restart" in done["msg"]

    def test_a_dkms_that_built_nothing_is_said(self, node, commands):
        fake_command(commands, "modinfo", "exit 1")
        fake_command(commands, "dkms", "exit 0")
        assert "nothing built" in self.run(node)["msg"]

    def test_a_kernel_that_is_not_the_locks_and_has_none_is_named(self, node, commands):
        fake_command(commands, "modinfo", f"[ $2 = {OTHER} ] && exit 1; {modinfo()}")
        done = self.run(node)
        assert done["spare"] == [OTHER]
        assert done["modules"][OTHER] is None

    def test_a_locked_kernel_that_is_not_installed_is_refused(self, node):
        done = self.run(node, kernels=["6.12.0-999.el10.x86_64"])
        assert "kernel 6.12.0-999.el10.x86_64 is not installed" in done["msg"]

    @pytest.mark.parametrize(
        ("seen", "says"),
        [
            (modinfo(version="580.95.05"), f"is 580.95.05 instead of {DRIVER}"),
            (modinfo(signer="DKMS module signing key"), "signed by DKMS module signing key"),
            (modinfo(signer=""), "signed by nobody"),
        ],
    )
    def test_another_version_or_signer_is_refused(self, node, commands, seen, says):
        fake_command(commands, "modinfo", seen)
        assert says in self.run(node)["msg"]

    def test_a_signer_that_the_machine_does_not_trust_is_refused_before_the_restart(self, node):
        put(node, "/proc/keys", "0a1b I 1 perm 1f 0 0 asymmetri Rocky kernel: 3f: X509.rsa 8f []\n")
        done = self.run(node)
        assert done["failed"]
        assert f"no key of this machine is that of {SIGNER}" in done["msg"]
        put(node, "/sys/firmware/efi/efivars/SecureBoot-1", b"\x06\0\0\0\x00")
        assert not self.run(node).get("failed")

    @pytest.mark.slow
    def test_a_module_that_is_really_signed_by_another_is_refused(self, node, commands, tmp_path):
        """A module of the rehearsal's, signed as the kernel's sign-file does, read by modinfo."""
        made = _Maker(
            tmp_path, models.load("h100-sxm"), Choice("compat", "10", ""), tmp_path, NullSink(),
            Other(DRIVER, "1.0", signer="Somebody else"),
        )  # fmt: skip
        work = tmp_path / "work"
        work.mkdir()
        module = tmp_path / "nvidia.ko"
        module.write_bytes(
            made._modules(work, KERNEL)[f"/usr/lib/modules/{KERNEL}/extra/nvidia.ko"]
        )
        fake_command(commands, "modinfo", f"exec /usr/sbin/modinfo {module}")
        assert f"is signed by Somebody else instead of {SIGNER}" in self.run(node)["msg"]
        said = self.run(node, signer="")["msg"]
        assert "no key of this machine is that of Somebody else" in said
        put(
            node, "/proc/keys", "0a1b I 1 perm 1f 0 0 asymmetri Somebody else: 3f: X509.rsa 8f []\n"
        )
        assert not self.run(node, signer="").get("failed")

    def test_keys_that_cannot_be_seen_are_no_trust(self, node):
        put(node, "/proc/keys", "")
        assert "shows none of the kernel's keys" in self.run(node)["msg"]

    def test_an_unsigned_module_is_refused_where_secure_boot_is_on(self, node, commands):
        fake_command(commands, "modinfo", modinfo(signer=""))
        assert "is not signed" in self.run(node, signer="")["msg"]

    def test_secure_boot_that_cannot_be_read_is_refused(self, node):
        (node / "sys/firmware/efi/efivars/SecureBoot-1").unlink()
        assert "cannot be read" in self.run(node)["msg"]
        assert not self.run(node, boots=False).get("failed")

    def test_what_only_a_restart_brings(self, node):
        put(node, "/proc/driver/nvidia/version", self.nvrm("570.172.08"))
        put(node, "/sys/module/nouveau/refcnt", "0")
        reasons = self.run(node)["reasons"]
        assert "driver 570.172.08 is loaded, 580.105.08 is installed" in reasons
        assert "nouveau is loaded" in reasons
        assert any(f"the stack lock names {KERNEL}" in reason for reason in reasons)
        assert self.run(node, boots=False)["reasons"] == reasons[1:]

    def test_a_plan_proves_nothing_of_packages_that_are_about_to_come(self, node, commands):
        done = self.run(node, check=True, pending=True)
        assert not done["changed"]
        assert calls(commands) == []

    def test_no_modinfo_is_no_proof(self, node, commands):
        (commands / "modinfo").unlink()
        assert self.run(node)["failed"]


class TestVersionlock:
    PACKAGES = (
        {"name": "kernel-core", "epoch": 0, "version": "6.12.0", "release": "1.el10"},
        {"name": "nvidia-driver-cuda", "epoch": 3, "version": DRIVER, "release": "1.el10"},
    )

    def run(self, folder, *, check=False, **more):
        given = {"packages": list(self.PACKAGES), "family": ["kernel", "kernel-core"], **more}
        return run_module("versionlock", {**given, "directory": str(folder)}, check=check)

    @pytest.fixture
    def folder(self, tmp_path):
        (tmp_path / "versionlock.conf").write_text("[main]\nenabled = 1\n")
        return tmp_path

    def test_kernel_and_driver_are_locked_and_others_lines_stay(self, folder):
        (folder / "versionlock.list").write_text("# mine\nbash-0:5.1-1.*\n")
        told = self.run(folder, check=True)
        done = self.run(folder)
        assert told.changes == done.changes
        assert told["diff"] == done["diff"]
        assert done["lines"] == [
            "kernel-0:6.12.0-1.el10.*",
            "kernel-core-0:6.12.0-1.el10.*",
            f"nvidia-driver-cuda-3:{DRIVER}-1.el10.*",
        ]
        text = (folder / "versionlock.list").read_text()
        assert text.startswith("# mine\nbash-0:5.1-1.*\n# begin")
        assert not self.run(folder)["changed"]

    def test_an_older_unit_is_replaced(self, folder):
        self.run(folder)
        newer = [{**p, "release": "2.el10"} for p in self.PACKAGES]
        self.run(folder, packages=newer)
        assert "1.el10" not in (folder / "versionlock.list").read_text()

    def test_another_version_that_somebody_else_allows_is_refused(self, folder):
        (folder / "versionlock.list").write_text("kernel-core-0:6.11.0-9.el10.*\n")
        done = self.run(folder)
        assert done["failed"]
        assert "kernel-core-0:6.11.0-9.el10.*" in done["msg"]

    @pytest.mark.parametrize("text", ["", "[main]\nenabled=0\n"])
    def test_a_list_that_nobody_reads_is_refused(self, folder, text):
        (folder / "versionlock.conf").write_text(text)
        assert self.run(folder)["failed"]
        assert not self.run(folder, check=True, pending=True).get("failed")


class TestBootKernel:
    @pytest.fixture(autouse=True)
    def bootable(self, tmp_path):
        """A node whose kernels can both be started."""
        self.root = tmp_path / "tree"
        for kernel in (KERNEL, RUNNING):
            put(self.root, f"/boot/vmlinuz-{kernel}", "x")
            put(self.root, f"/boot/initramfs-{kernel}.img", "x")

    @staticmethod
    def grubby(commands, kernel, arguments, entries=(KERNEL, RUNNING)):
        listed = "\n".join(
            f"""echo 'kernel="/boot/vmlinuz-{one}"'; echo 'args="ro {arguments}"'"""
            for one in entries
        )
        script = f"""case $1 in
            --default-kernel) echo /boot/vmlinuz-{kernel};;
            --info=ALL) {listed}
                ;;
        esac"""
        fake_command(commands, "grubby", script)

    def run(self, *, check=False, **more):
        given = {"kernel": KERNEL, "blacklist": ["nouveau"], "root": str(self.root), **more}
        return run_module("boot_kernel", given, check=check)

    def test_the_kernel_that_runs_is_the_way_back_and_is_named(self, commands):
        self.grubby(commands, KERNEL, "x")
        assert self.run()["fallback"] == RUNNING
        assert self.run(kernel=RUNNING)["fallback"] == ""

    @pytest.mark.parametrize(
        ("path", "which"),
        [("vmlinuz-{0}", KERNEL), ("initramfs-{0}.img", KERNEL), ("vmlinuz-{0}", RUNNING),
         ("initramfs-{0}.img", RUNNING)],
    )  # fmt: skip
    def test_a_kernel_that_cannot_be_started_is_refused_before_a_restart(
        self, commands, path, which
    ):
        self.grubby(commands, KERNEL, "x")
        place = f"/boot/{path.format(which)}"
        put(self.root, place)
        found = self.run()
        assert found["failed"]
        assert f"{place} is missing or empty" in found["msg"]

    @pytest.mark.parametrize("left", [KERNEL, RUNNING])
    def test_a_kernel_without_an_entry_is_refused(self, commands, left):
        self.grubby(commands, KERNEL, "x", entries=(left,))
        gone = RUNNING if left == KERNEL else KERNEL
        found = self.run()
        assert found["failed"]
        assert f"kernel {gone} has no boot entry" in found["msg"]

    def test_a_plan_does_not_ask_it_of_a_kernel_that_is_about_to_come(self, commands):
        self.grubby(commands, RUNNING, "x", entries=(RUNNING,))
        assert not self.run(check=True, pending=True).get("failed")

    def test_the_kernel_with_the_module_starts_next_and_nouveau_stays_off(self, commands):
        self.grubby(commands, OTHER, "rd.driver.blacklist=nova_core")
        told = self.run(check=True)
        assert not any("--set" in call or "--args" in call for call in calls(commands))
        done = self.run()
        assert told.changes == done.changes
        assert done.changes == [
            f"start kernel {KERNEL} next instead of /boot/vmlinuz-{OTHER}",
            "set kernel argument rd.driver.blacklist=nouveau,nova_core",
            "set kernel argument modprobe.blacklist=nouveau",
        ]
        assert f"grubby --set-default=/boot/vmlinuz-{KERNEL}" in calls(commands)

    def test_a_second_run_changes_nothing(self, commands):
        blacklist = "rd.driver.blacklist=nouveau modprobe.blacklist=nouveau,x"
        self.grubby(commands, KERNEL, blacklist)
        assert not self.run()["changed"]

    def test_a_grubby_that_fails_is_a_failure(self, commands):
        fake_command(commands, "grubby", "exit 1")
        assert self.run()["failed"]


class TestGpuState:
    @pytest.fixture
    def root(self, tmp_path):
        put(tmp_path, "/proc/driver/nvidia/version", TestGpuModule.nvrm(DRIVER))
        put(tmp_path, "/sys/module/nvidia/version", DRIVER)
        return tmp_path

    def run(self, root, *, check=False, **more):
        return run_module("gpu_state", {"driver": DRIVER, "root": str(root), **more}, check=check)

    def test_what_is_locked_runs(self, root):
        assert self.run(root)["loaded"] == DRIVER

    @pytest.mark.parametrize(
        ("path", "text", "says"),
        [
            ("/sys/module/nouveau/refcnt", "0", "nouveau is loaded"),
            ("/proc/driver/nvidia/version", "", "not loaded"),
            ("/proc/driver/nvidia/version", TestGpuModule.nvrm("570.1"), "driver 570.1 is loaded"),
            ("/sys/module/nvidia/version", "570.1", "the module says it is 570.1"),
            ("/proc/driver/nvidia-nvswitch/devices/0000:01:00.0", "", "declares no fabric"),
        ],
    )
    def test_each_thing_that_is_wrong_is_refused(self, root, path, text, says):
        put(root, path, text)
        done = self.run(root)
        assert done["failed"]
        assert says in done["msg"]
        assert not self.run(root, check=True, expected=True).get("failed")

    def test_a_fabric_that_is_declared_and_not_there_is_refused(self, root):
        assert "there is none" in self.run(root, fabric="nvswitch")["msg"]
        put(root, "/sys/bus/pci/devices/0000:07:00.0/class", "0x068000\n")
        put(root, "/sys/bus/pci/devices/0000:07:00.0/vendor", "0x10de\n")
        assert self.run(root, fabric="nvswitch")["switches"] == 1


LISTED = "GPU 0: NVIDIA H100 (UUID: GPU-1)\nGPU 1: NVIDIA H100 (UUID: GPU-2)\n"
PART = "  MIG 3g.40gb     Device  {0}: (UUID: MIG-{0})\n"


class Smi:
    """A driver with two GPUs that can be divided, as nvidia-smi shows it."""

    def __init__(self):
        self.parts = {"0": [], "1": []}
        self.mode = {"0": "Disabled", "1": "Disabled"}
        self.apps = ""
        self.refuses = False
        self.forgets = False
        self.calls = []

    def __call__(self, argv):
        self.calls.append(argv)
        words = " ".join(argv[1:])
        if "--query-gpu" in words:
            return 0, "".join(f"{i}, {m}\n" for i, m in self.mode.items())
        if words == "-L":
            lines = LISTED.splitlines(keepends=True)
            return 0, "".join(
                line + "".join(f"  MIG {p}  Device  {n}: (UUID: x)\n" for n, p in enumerate(own))
                for line, own in zip(lines, self.parts.values(), strict=True)
            )
        if "--query-compute-apps" in words:
            return 0, self.apps
        return self.change(argv)

    def change(self, argv):
        gpu = argv[argv.index("-i") + 1]
        if self.refuses:
            return 4, "Insufficient Permissions"
        if "-dgi" in argv:
            self.parts[gpu] = []
        if "-mig" in argv:
            self.mode[gpu] = "Enabled" if argv[-1] == "1" else "Disabled"
        if "-cgi" in argv and not self.forgets:
            self.parts[gpu] = argv[argv.index("-cgi") + 1].split(",")
        return 0, ""


HALVES = {0: ["3g.40gb", "3g.40gb"], 1: []}


class TestMig:
    def test_what_is_wanted_of_each_gpu(self):
        layout = [{"gpus": [0], "profiles": ["3g.40gb", "1g.10gb"]}]
        assert mig.wanted(2, layout) == {0: ["1g.10gb", "3g.40gb"], 1: []}
        assert mig.wanted(2, [{"profiles": ["7g.80gb"]}]) == {0: ["7g.80gb"], 1: ["7g.80gb"]}

    def test_a_gpu_is_divided_once_and_made_whole_again(self):
        smi = Smi()
        assert mig.bring(smi, HALVES) == ["divide GPU 0 into 3g.40gb, 3g.40gb"]
        assert smi.mode["0"] == "Enabled"
        assert mig.bring(smi, HALVES) == []
        assert mig.bring(smi, {0: [], 1: []}) == ["make GPU 0 whole"]
        assert smi.mode["0"] == "Disabled"

    def test_a_gpu_that_is_switched_and_not_divided_is_not_whole(self):
        smi = Smi()
        smi.mode["1"] = "Enabled"
        assert mig.bring(smi, {0: [], 1: []}) == ["make GPU 1 whole"]

    def test_a_gpu_in_use_is_never_touched(self):
        smi = Smi()
        smi.apps = "4711\n"
        with pytest.raises(mig.MigError, match="in use by 4711"):
            mig.bring(smi, HALVES)
        assert smi.parts == {"0": [], "1": []}

    @pytest.mark.parametrize(("how", "says"), [("refuses", "fails"), ("forgets", "not take")])
    def test_a_driver_that_does_not_is_an_error(self, how, says):
        smi = Smi()
        setattr(smi, how, True)
        with pytest.raises(mig.MigError, match=says):
            mig.bring(smi, HALVES)

    def test_a_gpu_that_is_declared_and_not_there_is_an_error(self):
        with pytest.raises(mig.MigError, match="GPU 2 is declared"):
            mig.bring(Smi(), {2: []})

    def test_an_nvidia_smi_that_says_nothing_is_an_error(self):
        with pytest.raises(mig.MigError, match="does not say"):
            mig.look(lambda argv: (9, "No devices were found"))

    def test_the_module_plans_what_it_does_and_leaves_a_program_that_runs(self, tmp_path, commands):
        state = tmp_path / "divided"
        script = f"""case "$*" in
          *query-gpu*) if [ -e {state} ]; then echo '0, Enabled'; else echo '0, Disabled'; fi;;
          -L) echo 'GPU 0: NVIDIA H100 (UUID: GPU-1)'
              if [ -e {state} ]; then echo '  MIG 7g.80gb  Device  0: (UUID: x)'; fi;;
          *-cgi*) touch {state};;
        esac"""
        fake_command(commands, "nvidia-smi", script)
        program = tmp_path / "libexec/gpu-mig"
        given = {"count": 1, "layout": [{"profiles": ["7g.80gb"]}], "program": str(program)}
        told = run_module("mig_layout", given, check=True)
        assert not state.exists()
        assert not program.exists()
        done = run_module("mig_layout", given)
        assert told.changes == done.changes == [f"write {program}", "divide GPU 0 into 7g.80gb"]
        assert not run_module("mig_layout", given)["changed"]
        state.unlink()
        layout = tmp_path / "layout.json"
        layout.write_text(json.dumps({"count": 1, "layout": given["layout"]}))
        ran = subprocess.run(
            [sys.executable, program, layout], capture_output=True, text=True, check=False
        )
        assert (ran.returncode, ran.stdout) == (0, "divide GPU 0 into 7g.80gb\n")
        assert state.exists()

    def test_a_plan_of_a_node_without_a_driver_says_nothing(self, commands):
        given = {"count": 1, "layout": [], "expected": True}
        assert not run_module("mig_layout", given, check=True)["changed"]
        assert run_module("mig_layout", given)["failed"]


class TestCuda:
    proof = plugin("modules", "cuda_proof")

    @pytest.mark.parametrize(
        ("answer", "says"),
        [
            ({"stuck": True}, "did not start within 5 s"),
            ({"ended": -11}, "ended with -11"),
            ({"load": "libcuda.so.1: cannot open", "init": None}, "cannot be used"),
            ({"load": None, "init": 802, "version": None}, "cuInit says 802"),
            ({"load": None, "init": 100, "version": None}, "cuInit says 100"),
            ({"load": None, "init": None, "version": None}, "cuInit says None"),
            ({"load": None, "init": 0, "version": None}, "cuDriverGetVersion"),
            ({"load": None, "init": 0, "version": 12040}, "offers CUDA 12.4, 12.8 is asked"),
        ],
    )
    def test_each_way_not_to_start_is_told(self, answer, says):
        what, hint = self.proof.wrong(answer, 5, "12.8")
        assert says in what
        assert hint
        assert self.proof.wrong({"load": None, "init": 0, "version": 12080}, 5, "12.8") is None

    @pytest.fixture
    def library(self, tmp_path):
        def make(body):
            source, made = tmp_path / "cuda.c", tmp_path / "libcuda.so.1"
            source.write_text(body)
            subprocess.run(["gcc", "-shared", "-fPIC", "-o", made, source], check=True)
            return {"library": str(made), "least": "12.8", "seconds": 5}

        return make

    WHOLE = "int cuInit(int f){return %d;} int cuDriverGetVersion(int *v){*v=%d; return 0;}"

    def test_a_library_that_starts_is_a_proof(self, library):
        assert run_module("cuda_proof", library(self.WHOLE % (0, 13000)))["cuda"] == "13.0"

    @pytest.mark.parametrize(
        ("body", "says"),
        [
            (WHOLE % (802, 0), "fabric manager"),
            ("int cuInit(int f){return 0;}", "cannot be used"),
            ("int cuInit(int f){__builtin_trap();}", "ended with -"),
            ("#include <unistd.h>\nint cuInit(int f){pause(); return 0;}", "did not start within"),
        ],
    )
    def test_one_that_does_not_is_a_failure(self, library, body, says):
        given = library(body) | {"seconds": 1}
        done = run_module("cuda_proof", given)
        assert done["failed"]
        assert says in done["msg"]
        assert not run_module("cuda_proof", {**given, "expected": True}, check=True).get("failed")

    def test_no_library_is_a_failure(self):
        assert run_module("cuda_proof", {"library": "libnothing.so.9"})["failed"]


SPEC = """---
cdiVersion: 0.5.0
containerEdits:
  deviceNodes:
  - path: /dev/nvidiactl
  mounts:
  - containerPath: /usr/lib64/libcuda.so.580.105.08
    hostPath: /usr/lib64/libcuda.so.580.105.08
devices:
- containerEdits:
    deviceNodes:
    - path: /dev/nvidia0
  name: "0"
- name: GPU-1
- name: "1"
- name: all
kind: nvidia.com/gpu
"""


class TestCdi:
    def test_what_a_specification_offers(self):
        assert cdi.is_ours(SPEC)
        assert not cdi.is_ours(SPEC.replace("nvidia.com/gpu", "vendor.com/net"))
        assert cdi.devices(SPEC) == {"0", "1", "all"}
        assert cdi.versions(SPEC) == {DRIVER}

    def test_another_form_of_the_same(self):
        text = 'kind: "nvidia.com/gpu"\ndevices:\n  - name: "0"\n    containerEdits:\n'
        text += "      env:\n        - name: NOT_ONE\n  - name: all\ncontainerEdits: {}\n"
        assert cdi.devices(text) == {"0", "all"}

    def test_what_the_node_has(self):
        parted = LISTED.replace("GPU 1:", PART.format(0) + PART.format(1) + "GPU 1:")
        assert cdi.wanted(LISTED) == {"0", "1", "all"}
        assert cdi.wanted(parted) == {"0:0", "0:1", "1", "all"}
        assert cdi.wanted("No devices found") == set()

    @pytest.mark.parametrize(
        ("text", "driver", "names", "says"),
        [
            ("", DRIVER, {"0"}, "there is none"),
            ("kind: x\n", DRIVER, {"0"}, "not about"),
            (SPEC, "595.71.05", {"0", "1", "all"}, "it is of 580.105.08, 595.71.05 runs"),
            (SPEC, DRIVER, {"0:0", "1", "all"}, "it lacks 0:0"),
            (SPEC, DRIVER, {"0", "all"}, "it has 1"),
        ],
    )
    def test_each_way_to_be_stale(self, text, driver, names, says):
        assert any(says in why for why in cdi.stale(text, driver, names))
        assert cdi.stale(SPEC, DRIVER, {"0", "1", "all"}) == []

    @pytest.fixture
    def node(self, tmp_path, commands):
        for name in ("etc", "run"):
            (tmp_path / name).mkdir()
        spec = tmp_path / "run/nvidia.yaml"
        fake_command(commands, "nvidia-smi", f"printf '{LISTED}'")
        (tmp_path / "right").write_text(SPEC)
        fake_command(commands, "systemctl", f"cp {tmp_path}/right {spec}")
        given = {"driver": DRIVER, "path": str(spec)}
        given["directories"] = [str(tmp_path / "etc"), str(tmp_path / "run")]
        return tmp_path, given

    def test_a_stale_one_is_written_anew_and_a_second_is_removed(self, node, commands):
        folder, given = node
        (folder / "run/nvidia.yaml").write_text(SPEC.replace(DRIVER, "570.1.1"))
        (folder / "etc/nvidia.yaml").write_text(SPEC)
        (folder / "etc/net.yaml").write_text("kind: vendor.com/net\n")
        told = run_module("cdi_spec", given, check=True)
        assert not any("systemctl" in call for call in calls(commands))
        done = run_module("cdi_spec", given)
        assert told.changes == done.changes
        assert [c.split(",")[0].split(":")[0] for c in done.changes] == [
            f"remove {folder}/etc/nvidia.yaml",
            f"write {folder}/run/nvidia.yaml",
        ]
        assert (folder / "etc/net.yaml").exists()
        assert not run_module("cdi_spec", given)["changed"]

    def test_a_toolkit_that_writes_something_else_is_a_failure(self, node):
        folder, given = node
        (folder / "right").write_text(SPEC.replace("- name: all\n", ""))
        done = run_module("cdi_spec", given)
        assert done["failed"]
        assert "it lacks all" in done["msg"]

    def test_no_gpu_is_a_failure_and_not_an_empty_specification(self, node, commands):
        fake_command(commands, "nvidia-smi", "echo No devices were found; exit 6")
        assert run_module("cdi_spec", node[1])["failed"]


class TestSelinuxBoolean:
    NAME = "container_use_xserver_devices"

    def run(self, *, check=False):
        return run_module("selinux_boolean", {"name": self.NAME}, check=check)

    def test_it_is_switched_on_for_good_and_once(self, commands, tmp_path):
        on = tmp_path / "on"
        fake_command(commands, "getenforce", "echo Enforcing")
        state = f"[ -e {on} ] && echo on || echo off"
        fake_command(commands, "getsebool", f'echo "{self.NAME} --> $({state})"')
        fake_command(commands, "setsebool", f"touch {on}")
        told = self.run(check=True)
        assert not on.exists()
        assert told.changes == self.run().changes == [f"switch SELinux boolean {self.NAME} on"]
        assert f"setsebool -P {self.NAME} on" in calls(commands)
        assert not self.run()["changed"]

    def test_without_selinux_there_is_nothing_to_do(self, commands):
        assert self.run()["selinux"] is False
        fake_command(commands, "getenforce", "echo Disabled")
        assert self.run()["selinux"] is False

    def test_a_boolean_that_is_not_there_is_refused(self, commands):
        fake_command(commands, "getenforce", "echo Enforcing")
        fake_command(commands, "getsebool", "echo 'Error getting active value' >&2; exit 1")
        done = self.run()
        assert done["failed"]
        assert "keep their labels" in done["msg"]
