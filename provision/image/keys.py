"""Keys that images are signed with: ECDSA on P-256, in a file or in a token that gives none away.

A key file is PEM (PKCS#8), readable by its owner alone, with a passphrase or without. A token is
reached by OpenSC's ``pkcs11-tool``. Passphrases and PINs are references (``file:``, ``env:``), and
travel by memory and by the environment, never on a command line.
"""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import parse_qs, unquote

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_private_key,
    load_pem_public_key,
)

from provision.core.exitcodes import ExitCode
from provision.core.problems import HoldfastError, fail
from provision.rack.secrets import SecretRef, read_secret

MODULES = (
    "/usr/lib64/pkcs11/p11-kit-proxy.so",
    "/usr/lib64/p11-kit-proxy.so",
    "/usr/lib/x86_64-linux-gnu/p11-kit-proxy.so",
    "/usr/lib/aarch64-linux-gnu/p11-kit-proxy.so",
)
"""Where distributions put the library that knows all tokens of a machine."""
_PIN = "HOLDFAST_TOKEN_PIN"
_TOKEN_S = 60
_MOST_BYTES = 64 * 1024


class Signer(Protocol):
    """Something that signs."""

    @property
    def public(self) -> ec.EllipticCurvePublicKey:
        """The public key that verifies what is signed."""
        ...

    def sign(self, message: bytes) -> bytes:
        """The signature (DER) of the SHA-256 of `message`.

        Raises:
            HoldfastError: it could not be made.
        """
        ...


def fingerprint(key: ec.EllipticCurvePublicKey) -> str:
    """The sha256 of the public key's DER form, by which an envelope names it."""
    form = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(form).hexdigest()


def holds(key: ec.EllipticCurvePublicKey, signature: bytes, message: bytes) -> bool:
    """Whether `signature` is the key's of `message`."""
    try:
        key.verify(signature, message, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def read_public(path: Path) -> ec.EllipticCurvePublicKey:
    """The public key in a PEM file.

    Raises:
        HoldfastError: there is none (exit code 2).
    """
    try:
        raw = path.read_bytes()[:_MOST_BYTES]
    except OSError as error:
        raise _bad(path, f"it cannot be read: {error.strerror}", "check the path") from error
    if b"PRIVATE KEY" in raw:
        raise _bad(path, "this is a private key", "give the public one, which may go everywhere")
    try:
        return _p256(load_pem_public_key(raw), path)
    except (ValueError, UnsupportedAlgorithm) as error:
        hint = "a public key begins with -----BEGIN PUBLIC KEY-----"
        raise _bad(path, "this is no public key", hint) from error


def open_signer(key: str, secret: SecretRef | None = None) -> Signer:
    """The signer that `key` names: the path of a key file, or a ``pkcs11:`` URI (RFC 7512).

    Args:
        key: which key.
        secret: where the file's passphrase, or the token's PIN, is.

    Raises:
        HoldfastError: it cannot be used (exit code 2).
    """
    word = read_secret(secret, Path.cwd()) if secret is not None else None
    if key.startswith("pkcs11:"):
        return _token(key, word)
    return _file(Path(key), word)


@dataclass(frozen=True)
class _FileSigner:
    key: ec.EllipticCurvePrivateKey

    @property
    def public(self) -> ec.EllipticCurvePublicKey:
        return self.key.public_key()

    def sign(self, message: bytes) -> bytes:
        # By RFC 6979 the same image signed twice has the same envelope, where OpenSSL can do it.
        try:
            how = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
        except UnsupportedAlgorithm:
            how = ec.ECDSA(hashes.SHA256())
        return self.key.sign(message, how)


def _file(path: Path, passphrase: str | None) -> Signer:
    raw = _private(path)
    try:
        key = load_pem_private_key(raw, passphrase.encode() if passphrase is not None else None)
    except TypeError as error:
        if passphrase is None:
            hint = "say with --secret where its passphrase is: file:PATH or env:NAME"
            raise _bad(path, "this key has a passphrase", hint) from error
        raise _bad(path, "this key has no passphrase", "leave --secret out") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        why = "the passphrase is wrong, or this is no key" if passphrase else "this is no key"
        raise _bad(path, why, "make one with `holdfast image key`") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise _bad(path, "this is no ECDSA key", "make one with `holdfast image key`")
    _p256(key.public_key(), path)
    return _FileSigner(key)


def _private(path: Path) -> bytes:
    """The bytes of a file that nobody but this user can read."""
    try:
        with path.open("rb") as stream:
            state = os.fstat(stream.fileno())
            if not stat.S_ISREG(state.st_mode):
                raise _bad(path, "this is not a regular file", "give the path of a file")
            if state.st_mode & 0o077 or state.st_uid not in (os.geteuid(), 0):
                raise _bad(path, "others than you can read or change this key",
                           f"chown it to yourself, and chmod 0600 {path}")  # fmt: skip
            return stream.read(_MOST_BYTES)
    except OSError as error:
        raise _bad(path, f"it cannot be read: {error.strerror}", "check the path") from error


def _p256(key: object, path: Path | str) -> ec.EllipticCurvePublicKey:
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise _bad(path, "this is no ECDSA key on P-256", "make one with `holdfast image key`")
    return key


def _bad(where: Path | str, why: str, hint: str) -> HoldfastError:
    return fail("bad-key", f"the key cannot be used: {why}", where=str(where), hint=hint,
                exit_code=ExitCode.USAGE)  # fmt: skip


@dataclass(frozen=True)
class _TokenSigner:
    uri: str
    words: tuple[str, ...]
    select: tuple[str, ...]
    pin: str | None
    public: ec.EllipticCurvePublicKey

    def sign(self, message: bytes) -> bytes:
        with tempfile.TemporaryDirectory(prefix="holdfast-sign.") as folder:
            digest, signature = Path(folder, "digest"), Path(folder, "signature")
            digest.write_bytes(hashlib.sha256(message).digest())
            words = [*self.words, "--sign", "--mechanism", "ECDSA", "--signature-format", "openssl",
                     *self.select, "--input-file", str(digest),
                     "--output-file", str(signature)]  # fmt: skip
            _pkcs11(self.uri, words, self.pin)
            made = signature.read_bytes()
        if not holds(self.public, made, message):
            raise fail("bad-signature", "the token's signature does not fit its public key",
                       where=self.uri, hint="check which key the URI names")  # fmt: skip
        return made


def _token(uri: str, pin: str | None) -> Signer:
    path, _, query = uri.removeprefix("pkcs11:").partition("?")
    pairs = [one.partition("=") for one in path.split(";") if one]
    about = {name: unquote(value) for name, _, value in pairs}
    asked = {name: values[0] for name, values in parse_qs(query).items()}
    unknown = {*about, *asked} - {"token", "object", "id", "type", "module-path"}
    if unknown or not ({"object", "id"} & set(about)):
        why = f"{min(unknown)!r} is not used here" if unknown else "it names no key"
        raise _bad(uri, why, "as in pkcs11:token=Images;object=sign?module-path=/usr/lib/x.so")
    module = asked.get("module-path") or next((m for m in MODULES if Path(m).exists()), None)
    if module is None:
        raise _bad(uri, "no PKCS#11 module is known", "name one: ...?module-path=/usr/lib/x.so")
    words: tuple[str, ...] = ("--module", module)
    if "token" in about:
        words += ("--token-label", about["token"])
    select: tuple[str, ...] = ()
    if "object" in about:
        select += ("--label", about["object"])
    if "id" in about:
        select += ("--id", about["id"].encode("latin-1").hex())
    with tempfile.TemporaryDirectory(prefix="holdfast-sign.") as folder:
        out = Path(folder, "public")
        read = [*words, "--read-object", "--type", "pubkey", *select, "--output-file", str(out)]
        _pkcs11(uri, read, pin)
        try:
            public = _p256(load_der_public_key(out.read_bytes()), uri)
        except (OSError, ValueError, UnsupportedAlgorithm) as error:
            hint = "the token must hold the public key beside the private one"
            raise _bad(uri, "the token gave no public key", hint) from error
    return _TokenSigner(uri, words, select, pin, public)


def _pkcs11(uri: str, words: list[str], pin: str | None) -> None:
    login = ["--login", "--pin", f"env:{_PIN}"] if pin is not None else []
    environment = {**os.environ, "LC_ALL": "C.UTF-8", **({_PIN: pin} if pin is not None else {})}
    try:
        done = subprocess.run(
            ["pkcs11-tool", *words, *login],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TOKEN_S,
            check=False,
        )
    except FileNotFoundError as error:
        hint = "`holdfast doctor` names the package that brings it"
        raise fail("missing-tool", "pkcs11-tool is not installed", hint=hint) from error
    except subprocess.TimeoutExpired as error:
        raise _bad(uri, f"the token did not answer within {_TOKEN_S} s", "look at it") from error
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        hint = "check token, key and module, and with --secret where the PIN is"
        raise _bad(uri, said[:200], hint)
