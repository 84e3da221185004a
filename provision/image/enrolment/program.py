"""Claims this node's identity on its first start. It is a program of the image, run as root.

It asks for a token, claims this node's host key with it, and takes what it is given only when one
of the image's own keys signed it for this very claim. Until then nobody can log in. It goes on
asking for as long as it takes: whoever brings up the rack may not have begun yet.

The first half of this file is the claim itself, which the other side reads too.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import os
import pwd
import re
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
from pathlib import Path
from typing import Any, NamedTuple

CLAIM = "holdfast.claim/1"
TOKEN = "holdfast.token/1"
IDENTITY = "holdfast.identity/1"
NAMESPACE = "holdfast-enrolment"
"""What the signature of an answer is for; one that was made for anything else is none."""
SIGNER = "holdfast"
"""Under which name the image knows the keys that sign."""
PROGRAM = "/usr/libexec/holdfast/holdfast-enrolment"
SIGNERS = "/etc/holdfast/enrolment/signers"
DONE = "/var/lib/holdfast/enrolled.json"
FROM = "/run/holdfast/from"
"""Where the initial RAM disk leaves the address of the folder that the root came from."""

NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,126}[A-Za-z0-9])?")
USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
KEY = re.compile(r"(?:sk-)?(?:ssh|ecdsa)-[a-z0-9@.-]{1,60} [A-Za-z0-9+/]{40,4000}={0,2}")
MAC = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}")
_LIKE_A_FINGERPRINT = re.compile(r"(?i)(?:sha|md5)[-_ ]?[0-9]*[:=]|[A-Za-z0-9+/]{40,}")
_MOST_BYTES = 65536
_PAUSE_S = 10.0
_ANSWER_S = 20.0


def canonical(value: Any) -> str:
    """Plain data as JSON in the one form that is signed and proven."""
    return json.dumps(value, ensure_ascii=True, sort_keys=True, separators=(",", ":"))


def proof(token: str, claim: Any) -> str:
    """What shows that whoever made `claim` has the token, without showing the token."""
    return hmac.new(token.encode(), canonical(claim).encode(), hashlib.sha256).hexdigest()


def fingerprint(host_key: str) -> str:
    """A public key as `ssh-keygen -l` and consoles show it."""
    digest = hashlib.sha256(base64.b64decode(host_key.split()[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def file_name(mac: str) -> str:
    """The name of the file with the token of this MAC."""
    return mac.replace(":", "-") + ".json"


class Refused(Exception):
    """What was asked for was not given, or what was given is not to be taken."""


class Errand(NamedTuple):
    """Where to claim, with which token, for which of this node's network cards."""

    url: str
    token: str
    mac: str


def main() -> int:
    """Claim until it is done; 0 then, and where nobody said where to claim."""
    key = host_key()
    # Whoever enrols the node compares this with what was claimed.
    say("has the host key " + fingerprint(key))
    nonce = secrets.token_hex(32)
    last = ""
    while True:
        try:
            where = errands()
            if where is None:
                say("nobody says where this node gets its identity, so it has none")
                return 0
            identity = claimed_by(where, key, nonce)
            break
        except (Refused, OSError, ValueError, LookupError, RecursionError) as error:
            if harmless(str(error)) != last:
                last = harmless(str(error))
                say("has no identity yet: " + last)
        time.sleep(_PAUSE_S)
    become(identity)
    say("is now {}, host key {}".format(identity["node"], fingerprint(key)))
    return 0


def say(text: str) -> None:
    """Tell the journal, and whoever looks at the console."""
    line = f"holdfast: this node {text}"
    print(line, flush=True)
    try:
        with open("/dev/console", "w", encoding="utf-8") as console:
            console.write(f"\r\n{line}\r\n")
    except OSError:
        return


def harmless(text: str) -> str:
    """What others had a word in, as a console may show it.

    One short line without control characters, and without anything that looks like a fingerprint:
    this node's own stands on the same console, and whoever enrols it believes what stands there.
    """
    line = " ".join(re.sub(r"[^ -~]", " ", text).split())
    return _LIKE_A_FINGERPRINT.sub("...", line)[:200]


def host_key() -> str:
    """This node's public host key, without a comment.

    Raises:
        SystemExit: it has none.
    """
    for kind in ("ed25519", "ecdsa", "rsa"):
        path = Path(f"/etc/ssh/ssh_host_{kind}_key.pub")
        if path.is_file():
            return " ".join(path.read_text(encoding="ascii").split()[:2])
    raise SystemExit("this node has no host key")


def errands() -> list[Errand] | None:
    """Where to claim, which is said beside the root; None where that came from no server.

    Raises:
        Refused: there is no token for any of this node's network cards.
    """
    cards = macs()
    beside = _text(FROM).strip()
    if not beside:
        return None
    found = [(mac, _fetched(f"{beside}/nodes/{file_name(mac)}")) for mac in cards]
    there = [Errand(str(one["url"]), str(one["token"]), mac) for mac, one in found if one]
    if not there:
        raise Refused(f"{beside}/nodes/ has no token for " + " or ".join(cards or ["no card"]))
    return there


def macs() -> list[str]:
    """The addresses of this node's Ethernet cards, those that have a link first."""
    found = []
    for folder in sorted(Path("/sys/class/net").iterdir()):
        if (folder / "device").exists() and _text(folder / "type").strip() == "1":
            down = _text(folder / "operstate").strip() != "up"
            found.append((down, _text(folder / "address").strip()))
    return [mac for _, mac in sorted(found)]


def claimed_by(where: list[Errand], key: str, nonce: str) -> dict[str, Any]:
    """The identity that this node is given for one of its cards.

    Raises:
        Refused: for none of them; the last reason.
    """
    last = Refused("it has no network card")
    for one in where:
        try:
            return claimed(one, key, nonce)
        except Refused as error:
            last = error
    raise last


def claimed(where: Errand, key: str, nonce: str) -> dict[str, Any]:
    """The identity that this node is given.

    Raises:
        Refused: it was given none, or one that the image's keys did not sign for this claim.
    """
    claim = {"schema": CLAIM, "mac": where.mac, "nonce": nonce, "host_key": key}
    body = canonical({"claim": claim, "proof": proof(where.token, claim)})
    said = _asked(where.url, body.encode())
    answer, signature = str(said.get("answer")), str(said.get("signature"))
    return judged(answer, signature, claim, SIGNERS)


def judged(answer: str, signature: str, claim: dict[str, str], signers: str) -> dict[str, Any]:
    """The identity in an answer that one of `signers` signed for `claim`.

    Raises:
        Refused: it is none.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".sig", encoding="ascii") as kept:
        kept.write(signature)
        kept.flush()
        done = subprocess.run(
            ["ssh-keygen", "-Y", "verify", "-f", signers, "-I", SIGNER, "-n", NAMESPACE,
             "-s", kept.name],
            input=answer.encode(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
    if done.returncode != 0:
        raise Refused("none of the image's keys signed what it was told")
    found = json.loads(answer)
    for name in ("mac", "nonce", "host_key"):
        if found.get(name) != claim[name]:
            raise Refused(f"what it was told is for another {name}")
    keys = found.get("login_keys")
    whole = (
        found.get("schema") == IDENTITY
        and NAME.fullmatch(str(found.get("node")))
        and USER.fullmatch(str(found.get("user")))
        and found.get("user") != "root"
        and isinstance(keys, list)
        and keys
        and all(isinstance(one, str) and KEY.fullmatch(one) for one in keys)
    )
    if not whole:
        raise Refused("what it was told is no identity")
    return dict(found)


def become(identity: dict[str, Any]) -> None:
    """Take the name, and let the operator in; what lets in comes after all that it needs."""
    name, user = str(identity["node"]), str(identity["user"])
    _write("/etc/hostname", name + "\n", 0o644)
    socket.sethostname(name)
    try:
        account = pwd.getpwnam(user)
    except KeyError:
        subprocess.run(
            ["useradd", "--create-home", "--shell", "/bin/bash", "--groups", "wheel", user],
            check=True,
        )
        account = pwd.getpwnam(user)
    # Nobody has a password that sudo could ask for.
    _write(f"/etc/sudoers.d/10-{user}", f"{user} ALL=(ALL) NOPASSWD: ALL\n", 0o440)
    folder = Path(account.pw_dir) / ".ssh"
    folder.mkdir(mode=0o700, exist_ok=True)
    keys = folder / "authorized_keys"
    _write(str(keys), "".join(one + "\n" for one in identity["login_keys"]), 0o600)
    for path in (folder, keys):
        os.chown(path, account.pw_uid, account.pw_gid)
    if Path("/usr/sbin/restorecon").exists():
        subprocess.run(["/usr/sbin/restorecon", "-R", account.pw_dir, "/etc/sudoers.d"], check=True)
    Path(DONE).parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    kept = {key: identity[key] for key in ("schema", "node", "mac", "host_key", "user")}
    _write(DONE, json.dumps(kept, sort_keys=True) + "\n", 0o644)


def _write(path: str, text: str, mode: int) -> None:
    part = f"{path}.part"
    with open(part, "w", encoding="utf-8") as stream:
        os.fchmod(stream.fileno(), mode)
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(part, path)


def _text(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _fetched(url: str) -> dict[str, Any] | None:
    """The token in the file at `url`, or None where there is none."""
    status, body = _http("GET", url)
    if status == 404:
        return None
    found = json.loads(body) if status == 200 else None
    if not isinstance(found, dict) or found.get("schema") != TOKEN:
        raise Refused(f"{url} holds no token (status {status})")
    return found


def _asked(url: str, body: bytes) -> dict[str, Any]:
    status, said = _http("POST", url, body)
    found = json.loads(said)
    if not isinstance(found, dict):
        raise Refused("what it was told is no identity")
    if status != 200:
        raise Refused("it was refused: " + str(found.get("refused"))[:200])
    return found


def _http(method: str, url: str, body: bytes | None = None) -> tuple[int, bytes]:
    """Ask one server one thing; no proxy and no redirection has a word in this."""
    parts = urllib.parse.urlsplit(url)
    kinds = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
    if parts.scheme not in kinds or not parts.hostname:
        raise Refused(f"{url[:200]} is no address")
    line = kinds[parts.scheme](parts.hostname, parts.port, timeout=_ANSWER_S)
    try:
        line.request(method, parts.path or "/", body, {"Content-Type": "application/json"})
        answer = line.getresponse()
        return answer.status, answer.read(_MOST_BYTES)
    except http.client.HTTPException as error:
        raise Refused(f"{url} gave no answer: {error!r}") from None
    finally:
        line.close()


if __name__ == "__main__":
    sys.exit(main())
