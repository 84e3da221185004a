"""The inference engine's OCI image: only the server, what it links to, and nothing else."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path

from provision.core.exitcodes import ExitCode
from provision.core.problems import fail
from provision.rehearsal import debian
from provision.rehearsal.recipe import Recipe
from provision.rehearsal.shell import run

NAME = "llama-cpp"
REFERENCE = "localhost/holdfast/llama-cpp"
_BINARIES = ("/usr/bin/llama-server", "/usr/bin/curl")
_BACKENDS = "usr/lib/*-linux-gnu/ggml/backends0/*.so"
_USER = 65532
_SCRATCH = "/" + "tmp"


@dataclass(frozen=True)
class Image:
    """An OCI image archive. `digest` is the manifest's, as registries and podman name it."""

    path: Path
    reference: str
    digest: str
    version: str
    licence: str


def build_engine_image(recipe: Recipe, work: Path, out: Path) -> Image:
    """Build llama.cpp's server into an OCI archive at `out`.

    Raises:
        HoldfastError: mmdebstrap failed.
    """
    tree = work / "engine"
    debian.build_tree(
        tree,
        recipe.engine_suite,
        ("llama.cpp-tools", "curl", "ca-certificates"),
        variant="essential",
        log=work / "engine.log",
    )
    version = run(["chroot", tree, "dpkg-query", "-W", "-f", "${Version}", "llama.cpp-tools"])
    layer = _layer(tree)
    digest = _write_archive(layer, out)
    return Image(out, REFERENCE, digest, version, "MIT")


def adopt(archive: Path, out: Path) -> Image:
    """Take an OCI archive that somebody else made, as it is.

    Raises:
        HoldfastError: it is not an OCI archive of one image for this machine's architecture.
    """
    try:
        with tarfile.open(archive) as members:
            (described,) = json.loads(_member(members, "index.json"))["manifests"]
            manifest = _blob(members, described["digest"])
            config = json.loads(_blob(members, json.loads(manifest)["config"]["digest"]))
            made_for = config["architecture"]
    except (OSError, tarfile.TarError, ValueError, KeyError, TypeError) as error:
        raise fail("bad-image", f"this is not an OCI archive of one image: {error}",
                   where=str(archive), hint="`podman save --format oci-archive` makes one",
                   exit_code=ExitCode.USAGE) from error  # fmt: skip
    if made_for != _architecture():
        raise fail("bad-image", f"the image is for {made_for}, and this machine is "
                   f"{_architecture()}", where=str(archive), exit_code=ExitCode.USAGE)  # fmt: skip
    shutil.copyfile(archive, out)
    named = described.get("annotations", {}).get("org.opencontainers.image.ref.name", "")
    reference = named.rpartition(":")[0] if "/" in named else REFERENCE
    return Image(out, reference, described["digest"], f"from {archive.name}", "as its maker says")


def _member(members: tarfile.TarFile, name: str) -> bytes:
    stream = members.extractfile(name)
    if stream is None:
        raise ValueError(f"{name} is not a file")
    return stream.read()


def _blob(members: tarfile.TarFile, digest: str) -> bytes:
    """A blob of the layout, its digest checked."""
    body = _member(members, f"blobs/{digest.replace(':', '/', 1)}")
    if f"sha256:{hashlib.sha256(body).hexdigest()}" != digest:
        raise ValueError(f"the blob {digest} has other bytes than its name says")
    return body


def _architecture() -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]


def _layer(tree: Path) -> bytes:
    """The layer as an uncompressed tar: sorted, without times, owned by root."""
    files = {path: tree / path.lstrip("/") for path in _needed(tree)}
    extra = {
        "/etc/passwd": f"root:x:0:0::/:/sbin/nologin\nengine:x:{_USER}:{_USER}::/:/sbin/nologin\n",
        "/etc/group": f"root:x:0:\nengine:x:{_USER}:\n",
        "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    }
    folders = {_SCRATCH, "/model", "/run/secrets"}
    for path in (*files, *extra, *folders):
        folders.update(parent for parent in _parents(path) if parent != "/")
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for folder in sorted(folders):
            entry = tarfile.TarInfo(folder.lstrip("/"))
            entry.type = tarfile.DIRTYPE
            entry.mode = 0o1777 if folder == _SCRATCH else 0o755
            archive.addfile(entry)
        # The merged /usr layout: the loader's path must resolve.
        for link in ("lib", "lib64", "bin"):
            entry = tarfile.TarInfo(link)
            entry.type = tarfile.SYMTYPE
            entry.linkname = f"usr/{link}"
            archive.addfile(entry)
        for path in sorted({*files, *extra}):
            entry = tarfile.TarInfo(path.lstrip("/"))
            if path in extra:
                body = extra[path].encode()
                entry.mode = 0o644
            else:
                body = files[path].read_bytes()
                entry.mode = 0o755 if os.access(files[path], os.X_OK) else 0o644
            entry.size = len(body)
            archive.addfile(entry, io.BytesIO(body))
    return raw.getvalue()


def _needed(tree: Path) -> set[str]:
    """Paths (with /usr first) of the binaries, their libraries and the loader's back ends."""
    roots = [*_BINARIES, *(f"/{path.relative_to(tree)}" for path in sorted(tree.glob(_BACKENDS)))]
    found: set[str] = set(roots)
    for line in run(["chroot", tree, "ldd", *roots]).splitlines():
        words = line.split()
        path = words[2] if "=>" in words else words[0] if words and words[0].startswith("/") else ""
        if path.startswith("/") and not path.endswith(":"):
            found.add(path if path.startswith("/usr/") else f"/usr{path}")
    for name in ("/usr/share/doc/llama.cpp-tools/copyright", "/etc/ssl/openssl.cnf"):
        if (tree / name.lstrip("/")).is_file():
            found.add(name)
    return found


def _parents(path: str) -> list[str]:
    return [str(parent) for parent in Path(path).parents]


def _write_archive(layer: bytes, out: Path) -> str:
    """Write an OCI image layout as a tar to `out`; returns the manifest's digest."""
    packed = gzip.compress(layer, compresslevel=3, mtime=0)
    blobs: dict[str, bytes] = {}

    def add(body: bytes, media: str) -> dict[str, object]:
        digest = hashlib.sha256(body).hexdigest()
        blobs[digest] = body
        return {"mediaType": media, "digest": f"sha256:{digest}", "size": len(body)}

    config = {
        "architecture": _architecture(),
        "os": "linux",
        "config": {
            "User": f"{_USER}:{_USER}",
            "Entrypoint": ["/usr/bin/llama-server"],
            "Env": ["PATH=/usr/bin", "LLAMA_ARG_OFFLINE=1"],
            "Labels": {"org.opencontainers.image.title": NAME},
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": add(_json(config), "application/vnd.oci.image.config.v1+json"),
        "layers": [add(packed, "application/vnd.oci.image.layer.v1.tar+gzip")],
    }
    described = add(_json(manifest), "application/vnd.oci.image.manifest.v1+json")
    described["annotations"] = {"org.opencontainers.image.ref.name": f"{REFERENCE}:locked"}
    index = {"schemaVersion": 2, "manifests": [described]}
    members = {"oci-layout": _json({"imageLayoutVersion": "1.0.0"}), "index.json": _json(index)}
    members.update({f"blobs/sha256/{digest}": body for digest, body in blobs.items()})
    with tarfile.open(out, "w", format=tarfile.GNU_FORMAT) as archive:
        for name in sorted(members):
            entry = tarfile.TarInfo(name)
            entry.size = len(members[name])
            archive.addfile(entry, io.BytesIO(members[name]))
    return str(described["digest"])


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
