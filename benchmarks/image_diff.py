"""How long two images, and a node and its image, take to compare.

    python benchmarks/image_diff.py [--paths N] [--runs N]

Two images of N paths with a bill of materials of 600 packages that own them all, 2 % of which
differ. What is measured begins with the folders on disk and ends with the text of a page. For drift
it begins with the answer of a node, and does not include reading the node's files, which is told
beside, for a tree of as many real, small files. Prints one JSON document.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = 600
RULES = 300


def main() -> int:
    """Measure, and print."""
    sys.path.insert(0, str(ROOT))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--paths", type=int, default=40_000)
    parser.add_argument("--runs", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        print(json.dumps(measured(Path(scratch), asked.paths, asked.runs), indent=1))
    return 0


def measured(scratch: Path, paths: int, runs: int) -> dict[str, Any]:
    """The figures, in seconds: the median and the worst of `runs`."""
    one, other = image(scratch / "a", paths, 0), image(scratch / "b", paths, 50)
    answer = sight(scratch / "b")
    return {
        "paths": paths,
        "runs": runs,
        "load": round(os.getloadavg()[0], 1),
        "diff": timed(lambda: compare(one, other), runs),
        "drift": timed(lambda: drifts(one, answer), runs),
        "a node's walk": timed(walker(scratch / "tree", paths), 1),
    }


def timed(act: Callable[[], object], runs: int) -> dict[str, float]:
    """How long `act` takes, by the clock and of the processor."""
    clock, own = [], []
    for _ in range(runs):
        begun, used = time.monotonic(), time.process_time()
        act()
        clock.append(time.monotonic() - begun)
        own.append(time.process_time() - used)
    return {"median_s": round(statistics.median(clock), 2), "worst_s": round(max(clock), 2),
            "cpu_s": round(statistics.median(own), 2)}  # fmt: skip


def compare(one: Path, other: Path) -> None:
    """What `holdfast image diff --html` does."""
    from provision.image.described import describe
    from provision.image.difference import difference
    from provision.image.pages import difference_page
    from provision.image.shown import difference_text

    found = difference(describe(one), describe(other))
    assert found.count > 100
    difference_page(found)
    difference_text(found, width=None, colour=False, every=False)


def drifts(one: Path, answer: bytes) -> None:
    """What `holdfast image drift --html` does with a node's answer."""
    from provision.image.described import describe
    from provision.image.drift import drift
    from provision.image.ignored import ours
    from provision.image.looking import NodeDrift, read_answer
    from provision.image.pages import drift_page

    image, (_, seen) = describe(one), read_answer(answer)
    found = drift(image, seen, ours())
    assert len(found.drifts) > 100
    drift_page("rack", [NodeDrift("n1", image=image, found=found)])


def image(folder: Path, paths: int, every: int) -> Path:
    """An image whose every `every`th file differs from that of 0."""
    from provision.core.files import sha256_of
    from provision.image import manifest as m
    from provision.image.filelist import Entry, written

    folder.mkdir()
    listed = []
    for number in range(paths):
        text = f"{number}{'x' if every and number % every == 0 else ''}"
        path = f"/usr/share/doc/package-{number % PACKAGES:03}/a/long/way/down/file-{number}.txt"
        digest = hashlib.sha256(text.encode()).hexdigest()
        listed.append(Entry(path, "f", 0o644, 0, 0, number, digest, "-"))
    packages = [_package(n, listed[n::PACKAGES], every) for n in range(min(PACKAGES, paths))]
    rules = {f"rule_{n}": {"result": "fail" if every and n == 7 else "pass"} for n in range(RULES)}
    texts = {m.FILES: "".join(written(listed)), m.CYCLONEDX: json.dumps({"components": packages}),
             m.RESULTS: json.dumps({"rules": rules})}  # fmt: skip
    for name, text in texts.items():
        (folder / name).write_text(text)
    manifest = m.Manifest(
        name="gpu-node", title="A node", release=10, arch="x86_64", epoch=0, definition="0" * 64,
        profile="cis_l1_server", gate=m.GateFacts(passed=True), artefacts=(), stages={},
        tree=m.Tree(files=sha256_of(folder / m.FILES), paths=paths, bytes=0),
        documents=tuple(m.Part(**m.part_of(folder / name)) for name in texts), holdfast="0",
    )  # fmt: skip
    (folder / m.MANIFEST).write_text(manifest.to_text())
    return folder


def _package(number: int, owned: list[Any], every: int) -> dict[str, Any]:
    version = f"0:1.{1 if every and number % 50 == 1 else 0}-1.el10"
    files = [
        {"type": "file", "name": e.path, "hashes": [{"alg": "SHA-1", "content": e.holds[:40]},
                                                    {"alg": "SHA-256", "content": e.holds}]}
        for e in owned
    ]  # fmt: skip
    name = f"package-{number:03}"
    return {
        "type": "library", "name": name, "version": version, "components": files,
        "licenses": [{"expression": "MIT"}],
        "properties": [{"name": "holdfast:rpm:nevra", "value": f"{name}-{version}.x86_64"}],
    }  # fmt: skip


def sight(folder: Path) -> bytes:
    """The answer of a node that is as the image in `folder`."""
    from provision.image import manifest as m
    from provision.image.described import describe
    from provision.image.onnode import SCHEMA

    about = {"schema": SCHEMA, "image": {"value": {}}, "cmdline": {"value": ""},
             "packages": {"value": {n: [] for n in describe(folder).packages}},
             "kernel": {"value": ""}}  # fmt: skip
    lines = (folder / m.FILES).read_text()
    ending = json.dumps({"errors": {}, "mounted": {}})
    return zlib.compress(f"{json.dumps(about)}\n{lines}{ending}\n".encode())


def walker(tree: Path, paths: int) -> Callable[[], object]:
    """Makes real files, and returns what reads them all as a node does."""
    from provision.image.onnode import Walk

    for number in range(paths):
        if number % 400 == 0:
            folder = tree / f"{number}"
            folder.mkdir(parents=True)
        (folder / f"{number}").write_bytes(b"x" * (number % 4096))
    return lambda: sum(1 for _ in Walk(str(tree), {}, []).lines())


if __name__ == "__main__":
    sys.exit(main())
