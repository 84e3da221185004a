"""A small tree with a real RPM database, and a signed image made from it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from provision.image import manifest as manifests
from provision.image.dsse import sealed
from provision.image.filelist import Entry, written
from provision.image.keys import open_signer
from provision.image.manifest import Artefact, GateFacts, KernelFacts, Manifest, StageFacts, Tree
from provision.image.onnode import Walk
from provision.image.statement import statement

EPOCH = 1_795_392_000
LICENCES = {"alpha": "MIT AND GPL-2.0-or-later", "beta": "Public Domain and Odd+Licence"}
_SPEC = """
Name: {name}
Epoch: {epoch}
Version: 1.2~rc1
Release: 3+x.el9
Summary: Is {name}
License: {licence}
Vendor: Tests & Sons
BuildArch: noarch
%description
Is {name}.
%install
mkdir -p %{{buildroot}}/usr/bin %{{buildroot}}/usr/share/{name}
echo {name} > %{{buildroot}}/usr/bin/{name}
echo data > "%{{buildroot}}/usr/share/{name}/with space"
ln -s {name} %{{buildroot}}/usr/bin/{name}-link
%files
/usr/bin/{name}
/usr/bin/{name}-link
/usr/share/{name}
"""


def make_tree(folder: Path) -> Path:
    """A root with two packages installed by rpm, and files that no package owns."""
    root = folder / "root"
    root.mkdir(parents=True)
    for number, (name, licence) in enumerate(LICENCES.items()):
        spec = folder / f"{name}.spec"
        spec.write_text(_SPEC.format(name=name, epoch=number, licence=licence))
        _run("rpmbuild", "-bb", "--quiet", "--define", f"_topdir {folder}/build",
             "--define", "_build_id_links none", str(spec))  # fmt: skip
    built = sorted(map(str, (folder / "build/RPMS/noarch").glob("*.rpm")))
    _run("rpm", "--root", str(root), "--define", "_dbpath /var/lib/rpm", "--force-debian",
         "--nodeps", "-i", *built)  # fmt: skip
    (root / "etc").mkdir(exist_ok=True)
    (root / "etc/os-release").write_text('NAME="Rocky Linux"\nID="rocky"\n')
    (root / "etc/own").write_text("ours")
    (root / "usr/bin/empty").touch()
    return root


def write_files(root: Path, path: Path) -> None:
    """Write ``files.tsv`` of a tree, as stage seal does."""
    lines = sorted(Walk(str(root), {}, []).lines(), key=order)
    path.write_text("".join(lines), encoding="ascii")


def order(line: str) -> bytes:
    return str(json.loads(line.split("\t", 1)[0])).encode("utf-8", "surrogateescape")


def make_key(path: Path, passphrase: str | None = None) -> tuple[Path, Path]:
    """A key file and its public key."""
    key = ec.generate_private_key(ec.SECP256R1())
    how = BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how))
    path.chmod(0o600)
    public = path.with_suffix(".pub")
    public.write_bytes(
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    return path, public


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def entries(count: int = 20) -> dict[str, Entry]:
    """Some files, made up."""
    found = {"/": Entry("/", "d", 0o755, 0, 0, 0, "-", "-")}
    for number in range(count):
        path = f"/usr/share/f{number:05}"
        found[path] = Entry(path, "f", 0o644, 0, 0, number, digest(path), "-")
    return found


def make_image(
    folder: Path,
    key: Path,
    *,
    files: dict[str, Entry] | None = None,
    documents: dict[str, str] | None = None,
    **more: Any,
) -> Manifest:
    """A signed image of made-up content in `folder`."""
    folder.mkdir(parents=True)
    listed = files if files is not None else entries()
    texts = {manifests.FILES: "".join(written(listed.values())), manifests.GATE: "{}\n",
             **(documents or {})}  # fmt: skip
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "gpu-node.raw").write_bytes(b"\x55\xaa" * 2048)
    about: dict[str, Any] = {
        "name": "gpu-node", "title": "A node with GPUs", "release": 9, "arch": "x86_64",
        "epoch": EPOCH, "definition": digest("definition"), "lock": digest("lock"),
        "profile": "cis_l1_server",
        "tree": Tree(files=digest(texts[manifests.FILES]), paths=len(listed),
                     bytes=sum(entry.size for entry in listed.values())),
        "kernel": KernelFacts(version="5.14.0-1.el9.x86_64", arguments="quiet ro"),
        "gate": GateFacts(passed=True),
        "artefacts": (Artefact(**manifests.part_of(folder / "gpu-node.raw"), format="raw",
                               bootable=True),),
        "documents": tuple(manifests.Part(**manifests.part_of(folder / name)) for name in texts),
        "stages": {"seal": StageFacts(id=digest("seal"), tools={"rpm": "4.18"})},
        "holdfast": "0.1.0",
        **more,
    }  # fmt: skip
    manifest = Manifest(**about)
    sign_again(folder, manifest, key)
    return manifest


def sign_again(folder: Path, manifest: Manifest, key: Path) -> None:
    payload = statement(manifest)
    (folder / manifests.MANIFEST).write_text(manifest.to_text())
    (folder / manifests.STATEMENT).write_text(payload)
    envelope = sealed(payload.encode(), open_signer(str(key)))
    (folder / manifests.ENVELOPE).write_text(envelope)


def _run(*argv: str) -> str:
    env = {**os.environ, "SOURCE_DATE_EPOCH": str(EPOCH), "LC_ALL": "C.UTF-8"}
    return subprocess.run(argv, check=True, capture_output=True, text=True, env=env).stdout
