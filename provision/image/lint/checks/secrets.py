"""Private keys, tokens and passwords, wherever they lie."""

from __future__ import annotations

import re
from collections.abc import Iterator

from provision.image.lint.tree import MOST, Entry, Tree
from provision.image.lint.words import Found, Told, check
from provision.verdict.model import Severity

_KEY = re.compile(rb"-----BEGIN ([A-Z]+ )*PRIVATE KEY( BLOCK)?-----\s+[A-Za-z0-9+/=:,\-\s]{40}")
_TOKENS = {
    b"ghp_": ("a token of GitHub", re.compile(rb"\bghp_[A-Za-z0-9]{36}\b")),
    b"ghs_": ("a token of GitHub", re.compile(rb"\bghs_[A-Za-z0-9]{36}\b")),
    b"github_pat_": ("a token of GitHub", re.compile(rb"\bgithub_pat_[A-Za-z0-9_]{60,}")),
    b"glpat-": ("a token of GitLab", re.compile(rb"\bglpat-[A-Za-z0-9_-]{20}")),
    b"hf_": ("a token of Hugging Face", re.compile(rb"\bhf_[A-Za-z0-9]{34}\b")),
    b"nvapi-": ("a key of NVIDIA's services", re.compile(rb"\bnvapi-[A-Za-z0-9_-]{60,}")),
    b"AKIA": ("a key of AWS", re.compile(rb"\bAKIA[A-Z2-7]{16}\b")),
}
"""By what it begins with, which is quick to look for: what it is, and what it looks like."""
_STORES = {
    ".netrc": re.compile(rb"\bpassword\s+\S"),
    ".pgpass": re.compile(rb":[^:\s]+\s*$", re.MULTILINE),
    ".git-credentials": re.compile(rb"://[^/\s:]+:[^@\s]+@"),
    ".vault-token": re.compile(rb"\S"),
    "auth.json": re.compile(rb'"auth"\s*:\s*"[^"]'),
    "config.json": re.compile(rb'"auth"\s*:\s*"[^"]'),
    "kubeconfig": re.compile(rb"(client-key-data|token):\s*\S"),
}
"""What a file of this name holds when there is a secret in it."""
_REPOSITORY = re.compile(rb"^\s*(proxy_)?password\s*=\s*\S", re.MULTILINE)
_EXAMPLES = ("/usr/share/doc/", "/usr/share/licenses/", "/usr/share/man/")
"""Where documents show what a key looks like."""


@check(
    "secrets",
    title="No secret is in the image",
    why="An image is copied, and everybody who has a copy has the secret. What a node must know is"
    " handed over once, to that node. Keys and tokens are looked for in the first 4 MiB of each"
    " file that is no program, the site's own secrets in the whole of every file.",
    fix="remove it, take it for lost and make another",
    severity=Severity.CRITICAL,
)
def look(tree: Tree, told: Told) -> Iterator[Found]:
    """Reads every file but programs, and looks for the site's own secrets in those as well."""
    canaries = [word.encode() for word in told.canaries if word]
    for entry in tree.entries.values():
        if entry.kind == "file" and entry.size:
            yield from _of(tree, entry, canaries)


def _of(tree: Tree, entry: Entry, canaries: list[bytes]) -> Iterator[Found]:
    raw = tree.read(entry.path) or b""
    if canaries:
        yield from _canaries(tree, entry, raw, canaries)
    if raw[:4] == b"\x7fELF":
        return
    if b"PRIVATE KEY" in raw and not entry.path.startswith(_EXAMPLES) and _KEY.search(raw):
        yield Found(entry.path, "holds a private key")
    for begin, (what, pattern) in _TOKENS.items():
        if begin in raw and pattern.search(raw):
            yield Found(entry.path, f"holds {what}")
    store = _STORES.get(entry.path.rpartition("/")[2])
    if store is not None and store.search(raw):
        yield Found(entry.path, "holds a password or a token")
    if entry.path.startswith("/etc/yum.repos.d/") and _REPOSITORY.search(raw):
        yield Found(entry.path, "holds a repository's password")


def _canaries(tree: Tree, entry: Entry, raw: bytes, canaries: list[bytes]) -> Iterator[Found]:
    """A secret of the site, in the whole of a file, however long it is."""
    left = set(canaries)
    kept = max(map(len, canaries))
    with open(f"{tree.root}{entry.path}", "rb") as stream:
        while raw:
            for word in [word for word in left if word in raw]:
                left.discard(word)
                yield Found(entry.path, "holds a secret of the site")
            if entry.size <= MOST or not left:
                return
            stream.seek(max(stream.tell() - kept, 0))
            raw = stream.read(MOST)
            if len(raw) <= kept:
                return
