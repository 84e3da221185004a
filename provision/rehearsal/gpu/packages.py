"""RPMs under NVIDIA's names for a rehearsal's repository, and what the stack lock says of them.

Every one of them says in its summary that it is a simulation. The modules are object files that
`modinfo` reads and no kernel would load; they are signed with a key made for the rehearsal.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from provision.core.events import EventSink
from provision.core.files import write_whole
from provision.rehearsal import repodata, repository, rpms
from provision.rehearsal.cache import digest_of, made_once, remove_tree, source_of
from provision.rehearsal.choice import Choice
from provision.rehearsal.gpu import build
from provision.rehearsal.gpu.models import NodeModel, with_driver
from provision.rehearsal.shell import run

FILES = Path(__file__).with_name("files")
SIGNER = "Holdfast rehearsal"
TOOLKIT = "1.20.0"
MODULES = ("nvidia", "nvidia-modeset", "nvidia-drm", "nvidia-uvm")

_MODULE = """\
#define INFO(name, text) \\
    static const char name[] __attribute__((section(".modinfo"), used, aligned(1))) = text
INFO(licence, "license=Dual MIT/GPL");
INFO(version, "version={version}");
INFO(summary, "description=A simulation for Holdfast rehearsals; it drives nothing");
INFO(source, "srcversion=533BB7E5866E52F63B9ACCB");
INFO(made_for, "vermagic={kernel} SMP preempt mod_unload modversions ");
INFO(name_, "name={name}");
INFO(needs, "depends={depends}");
"""

_NO_MODULES: dict[str, str | bytes | Path] = {
    "/usr/share/doc/kmod-nvidia-open/README": "A simulation of modules that were not built.\n"
}
_SWALLOWED = 'echo "Error! Bad return status for module build on kernel (simulated)" >&2 || :'


@dataclass(frozen=True)
class Other:
    """Another GPU unit beside the model's own: a lock of its own, `stack.lock.VERSION.json`.

    `toolkit` is the version of its container toolkit, which no other unit has; `kernel` the release
    of a kernel of its own, beside the one that nodes have; without one the modules are for that
    one. `signer` is whom its modules say that they are signed by, whatever the lock says;
    `swallowed` packages no modules, as when DKMS failed and its package ended well.
    """

    version: str
    toolkit: str
    kernel: str = ""
    signer: str = SIGNER
    swallowed: bool = False

    @property
    def lock(self) -> str:
        """The name of its stack lock's file."""
        return f"stack.lock.{self.version}.json"


@dataclass(frozen=True)
class _Plan:
    """An RPM to be: its name, Debian-like version and files below the build root.

    `part` is its place in the lock's unit.
    """

    name: str
    version: str
    says: str
    part: Literal["userspace", "module", "kernel", "fabric", "toolkit"]
    files: dict[str, str | bytes | Path] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    requires: tuple[str, ...] = ()
    post: str = ""


def with_gpus(
    made: Path,
    model: NodeModel,
    choice: Choice,
    node_base: Path,
    events: EventSink,
    *others: Other,
) -> Path:
    """The artefacts of a rehearsal with the packages and the lock's unit for simulated GPUs added.

    Args:
        made: the artefacts as they are for nodes without GPUs; they stay as they are.
        model: what GPUs the nodes have.
        choice: what nodes are made of.
        node_base: the folder of the node base.
        events: is told when there is something to build.
        others: further units, for racks on which the unit changes.

    Raises:
        HoldfastError: a tool is missing or failed.
    """
    parts = [made.name.encode(), model.model_dump_json().encode(), Path(__file__).read_bytes()]
    parts += [path.read_bytes() for path in sorted((*FILES.iterdir(), *build.SOURCES.iterdir()))]
    parts += source_of(build, rpms, repodata)
    parts += [repr(other).encode() for other in others]
    return made_once(
        f"artefacts-{choice.base}{choice.release}-{model.id}{'-units' if others else ''}",
        digest_of(parts),
        lambda part: _Maker(made, model, choice, node_base, events).make(part, others),
        events,
        says="building and signing the simulated GPU driver",
    )


@dataclass(frozen=True)
class _Maker:
    made: Path
    model: NodeModel
    choice: Choice
    node_base: Path
    events: EventSink
    other: Other | None = None

    def make(self, part: Path, others: Sequence[Other]) -> None:
        """Fill `part` with what is there already, and with the GPUs' packages."""
        shutil.copytree(
            self.made, part, copy_function=_linked, symlinks=True, dirs_exist_ok=True,
            # Where gpg's agent listened while the keys were made; a socket cannot be copied.
            ignore=shutil.ignore_patterns("S.gpg-agent*"),
        )  # fmt: skip
        (part / ".whole").unlink()
        folder = part / f"el{self.choice.release}" / os.uname().machine
        remove_tree(folder / "repodata")
        # Hard links lead to the files that stay as they are.
        (part / "stack.lock.json").unlink()
        makers = [self, *(self._of(other) for other in others)]
        with repodata.short_way(part / "private") as private:
            locks = [makers[0].lock(folder, private)]
            locks += [maker.lock(folder, private, locks[0]) for maker in makers[1:]]
            repodata.index(folder, private)
        for maker, lock in zip(makers, locks, strict=True):
            name = maker.other.lock if maker.other else "stack.lock.json"
            text = json.dumps(lock, indent=1, ensure_ascii=False)
            write_whole(part / name, f"{text}\n")

    def _of(self, other: Other) -> _Maker:
        return replace(self, model=with_driver(self.model, other.version), other=other)

    def lock(
        self, folder: Path, private: Path, first: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Build this unit's packages into `folder`; the lock that names them.

        `first` is the lock of the model's own unit, whose kernel one without its own shares: built
        again it would be another file under the same name.
        """
        lock: dict[str, Any] = json.loads(
            (self.made / "stack.lock.json").read_text(encoding="utf-8")
        )
        if first is not None and self.other is not None and not self.other.kernel:
            there = {row["name"] for row in lock["rpms"]}
            shared = [row for row in first["rpms"] if row["name"] == "kernel-core"]
            lock["rpms"] += [row for row in shared if row["name"] not in there]
        entries = self._build(folder, private, lock)
        lock["schema"] = "holdfast.stack/2"
        if self.other is not None:
            lock["name"] = f"{lock['name']}-{self.other.version}"
        lock["rpms"] += [row for row, _ in entries]
        lock["gpu"] = [self._unit(lock["rpms"], entries)]
        return lock

    def _build(
        self, folder: Path, private: Path, lock: dict[str, Any]
    ) -> list[tuple[dict[str, Any], str]]:
        work = private / "gpus"
        root = work / "root"
        root.mkdir(parents=True)
        plans = self._plans(work, {row["name"] for row in lock["rpms"]})
        packages = [_laid_out(plan, root) for plan in plans]
        major = self.choice.release
        built = rpms.build_rpms("gpus", packages, root, folder, major=major, compress=True)
        remove_tree(folder / ".build")
        repository.sign(built, private)
        remove_tree(work)
        by_name = {plan.name: plan for plan in plans}
        found: list[tuple[dict[str, Any], str]] = []
        for path in built:
            row = repodata.entry(path, major, repodata.KEY_NAME)
            plan = by_name[row["name"]]
            said = {"licence": "Apache-2.0", "licence_class": "open", "reason": plan.says}
            # Roles install what the lock's unit names, on nodes with GPUs alone.
            found.append(({**row, "roles": [], **said}, plan.part))
        return found

    def _plans(self, work: Path, present: set[str]) -> list[_Plan]:
        driver = self.model.driver.version
        built = build.build(driver, lacks=self.model.driver.lacks, events=self.events)
        version, library = f"3:{driver}-1", "/usr/lib64"
        name, release = self._kernel(work)
        own = self.other.kernel if self.other else ""
        toolkit = self.other.toolkit if self.other else TOOLKIT
        tool = (FILES / "nvidia-ctk").read_text(encoding="utf-8")
        if own:
            release, present = own, present - {name}
        swallowed = self.other is not None and self.other.swallowed
        plans = [
            _Plan("libnvidia-ml", version, "Simulation of the GPU management library",
                  "userspace",
                  {f"{library}/libnvidia-ml.so.{driver}": built.nvml,
                   "/etc/ld.so.conf.d/simulated-gpus.conf": f"{library}\n"},
                  {f"{library}/{build.NVML}": f"libnvidia-ml.so.{driver}"},
                  post=_links_last("libnvidia-ml")),
            _Plan("nvidia-driver-cuda-libs", version, "Simulation of the CUDA driver library",
                  "userspace", {f"{library}/libcuda.so.{driver}": built.cuda},
                  {f"{library}/{build.CUDA}": f"libcuda.so.{driver}"}, ("libnvidia-ml",),
                  post=_links_last("nvidia-driver-cuda-libs")),
            _Plan("nvidia-driver-cuda", version, "Simulation of nvidia-smi", "userspace",
                  {"/usr/bin/nvidia-smi": built.smi},
                  requires=("nvidia-driver-cuda-libs", "nvidia-persistenced")),
            _Plan("nvidia-persistenced", version, "Simulation of the GPU persistence daemon",
                  "userspace", _service("nvidia-persistenced", "nvidia-persistenced")),
            _Plan("nvidia-kmod-common", version, "Settings for a simulated GPU module",
                  "userspace",
                  {"/usr/lib/modprobe.d/nvidia.conf": "blacklist nouveau\n",
                   "/usr/lib/dracut/dracut.conf.d/99-nvidia.conf":
                   'omit_drivers+=" nvidia nvidia-drm nvidia-modeset nvidia-uvm "\n'}),
            _Plan("kmod-nvidia-open", version, f"Simulation of GPU modules for {release}",
                  "module", _NO_MODULES if swallowed else self._modules(work, release),
                  requires=("nvidia-kmod-common",),
                  post=_SWALLOWED if swallowed else f"depmod {release} >/dev/null 2>&1 || :"),
            _Plan("nvidia-container-toolkit", f"{toolkit}-1",
                  "Simulation of the tool that describes GPUs to container runtimes",
                  "toolkit",
                  {"/usr/bin/nvidia-ctk": tool.replace(TOOLKIT, toolkit),
                   **{f"/usr/lib/systemd/system/{name}": (FILES / name).read_text() for name in
                      ("nvidia-cdi-refresh.path", "nvidia-cdi-refresh.service")}}),
        ]  # fmt: skip
        if self.model.has_fabric:
            plans += [
                _Plan("nvidia-fabricmanager", version, "Simulation of the fabric manager",
                      "fabric", _service("nvidia-fabricmanager", "nv-fabricmanager")),
                _Plan("libnvidia-nscq", version, "Stands for the NVSwitch library; does nothing",
                      "fabric", {"/usr/share/doc/libnvidia-nscq/README": "A simulation.\n"}),
            ]  # fmt: skip
        if name not in present:
            plans.append(
                _Plan(name, release.removesuffix(f".hfr{self.choice.release}.{os.uname().machine}"),
                      "The kernel for which simulated modules are made", "kernel",
                      {f"/usr/lib/modules/{release}/modules.{kind}": "" for kind in
                       ("order", "builtin")})
            )  # fmt: skip
        return plans

    def _kernel(self, work: Path) -> tuple[str, str]:
        """The node base's kernel package, and what it calls its release.

        A query writes beside the database that it reads, and nodes run on the base: this reads a
        copy.
        """
        database = work / "rpmdb"
        for place in ("usr/lib/sysimage/rpm", "var/lib/rpm"):
            kept = self.node_base / "root" / place
            if (kept / "rpmdb.sqlite").exists() and not database.exists():
                shutil.copytree(kept, database)
        said = run(["rpm", f"--dbpath={database}", "-q", "--qf",
                    "%{NAME} %{VERSION}-%{RELEASE}.%{ARCH}\n", "kernel-core"])  # fmt: skip
        name, release = said.splitlines()[-1].split()
        return name, release

    def _modules(self, work: Path, kernel: str) -> dict[str, str | bytes | Path]:
        """The modules, each signed as the kernel's own sign-file does."""
        key, certificate = work / "key.pem", work / "cert.pem"
        signer = self.other.signer if self.other else SIGNER
        run(["openssl", "req", "-new", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key,
             "-subj", f"/CN={signer}", "-days", "36500", "-out", certificate])  # fmt: skip
        found: dict[str, str | bytes | Path] = {}
        for name in MODULES:
            source, made, signature = (work / f"{name}.{end}" for end in ("c", "ko", "p7s"))
            depends = "" if name == "nvidia" else "nvidia"
            source.write_text(
                _MODULE.format(version=self.model.driver.version, kernel=kernel, depends=depends,
                               name=name.replace("-", "_"))
            )  # fmt: skip
            run(["gcc", "-c", "-o", made, source])
            run(["openssl", "cms", "-sign", "-binary", "-noattr", "-nocerts", "-md", "sha256",
                 "-outform", "DER", "-signer", certificate, "-inkey", key, "-in", made,
                 "-out", signature])  # fmt: skip
            sealed = signature.read_bytes()
            # struct module_signature: a PKCS#7 message, and how long it is.
            tail = struct.pack(">BBBBB3xI", 0, 0, 2, 0, 0, len(sealed))
            found[f"/usr/lib/modules/{kernel}/extra/{name}.ko"] = (
                made.read_bytes() + sealed + tail + b"~Module signature appended~\n"
            )
        return found

    def _unit(
        self, listed: list[dict[str, Any]], entries: list[tuple[dict[str, Any], str]]
    ) -> dict[str, Any]:
        # The last of a name is this unit's own.
        nevra = {row["name"]: _nevra(row) for row in listed}
        userspace = [nevra[row["name"]] for row, part in entries if part == "userspace"]
        return {
            "name": f"simulated-{self.model.id}",
            "el": self.choice.release,
            "arch": os.uname().machine,
            "provider": "site_signed",
            "driver": self.model.driver.version,
            "signer": SIGNER,
            "kernels": [{"kernel": nevra["kernel-core"], "module": nevra["kmod-nvidia-open"],
                         "devel": None}],
            "userspace": userspace,
            "fabric_manager": nevra.get("nvidia-fabricmanager"),
            "nscq": nevra.get("libnvidia-nscq"),
            "imex": None,
            "toolkit": [nevra["nvidia-container-toolkit"]],
        }  # fmt: skip


def _links_last(name: str) -> str:
    """A package's script after its installation, and the one after the whole transaction.

    One that goes back has both libraries until it is over: ldconfig would lead the link to the
    newer one, which then goes.
    """
    return f"ldconfig\n%posttrans -n {name}\nldconfig"


def _linked(source: str, target: str) -> None:
    """A hard link where that is possible: artefacts are large and never change."""
    if "/private/" in source:
        shutil.copy2(source, target)
    else:
        os.link(source, target)


def _service(unit: str, program: str) -> dict[str, str | bytes | Path]:
    """A unit that runs and does nothing."""
    return {
        f"/usr/bin/{program}": "#!/bin/sh\n# A simulation for Holdfast rehearsals.\n"
        "exec sleep infinity\n",
        f"/usr/lib/systemd/system/{unit}.service": f"[Unit]\nDescription=Simulated {unit}\n\n"
        f"[Service]\nExecStart=/usr/bin/{program}\n\n[Install]\nWantedBy=multi-user.target\n",
    }


def _laid_out(plan: _Plan, root: Path) -> rpms.Package:
    """Write a plan's files below the build root."""
    for path, content in plan.files.items():
        target = root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Path):
            shutil.copyfile(content, target)
        else:
            target.write_bytes(content.encode() if isinstance(content, str) else content)
        target.chmod(0o755 if path.startswith(("/usr/bin/", "/usr/lib64/")) else 0o644)
    for path, aim in plan.links.items():
        (root / path.lstrip("/")).symlink_to(aim)
    return rpms.Package(
        name=plan.name,
        source="",
        debian_version=plan.version,
        summary=f"{plan.says} (a simulation by Holdfast, not NVIDIA's)",
        licence="Apache-2.0",
        paths=(*plan.files, *plan.links),
        requires=plan.requires,
        post=plan.post,
    )


def _nevra(row: dict[str, Any]) -> str:
    return f"{row['name']}-{row['epoch']}:{row['version']}-{row['release']}.{row['arch']}"
