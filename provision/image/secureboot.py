"""Secure Boot with a site's own keys: made once, and used to sign what firmware starts.

Three keys, as UEFI has them: the platform key (PK) says who may change the key exchange key (KEK),
that one says who may change the list (db) of what may be started. Firmware checks RSA everywhere,
and ECDSA hardly anywhere, so these are RSA of 2048 bits.
"""

from __future__ import annotations

import datetime as dt
import os
import uuid
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import NameOID

from provision.core.exitcodes import ExitCode
from provision.core.files import write_whole
from provision.core.problems import fail
from provision.image.sandbox import Sandbox

NAMES = ("PK", "KEK", "db")
KEY, PUBLIC, GUID = "image.key", "image.pub", "guid"
_YEARS = 20
"""Firmware looks at no date, and a rack outlives a certificate."""


def make_image_key(folder: Path, passphrase: str | None) -> tuple[Path, Path]:
    """Make the key that images are signed with; its file, and the public key's.

    Raises:
        HoldfastError: one is there already (exit code 2).
    """
    _absent(folder, (KEY, PUBLIC))
    key = ec.generate_private_key(ec.SECP256R1())
    how = BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()
    _write(folder / KEY, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how), 0o600)
    form = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    _write(folder / PUBLIC, form, 0o644)
    return folder / KEY, folder / PUBLIC


def make_keys(folder: Path, owner: str) -> list[Path]:
    """Make PK, KEK and db, each with a certificate, and the owner's GUID; the files' paths.

    Args:
        folder: where they go.
        owner: what the certificates call whoever has them.

    Raises:
        HoldfastError: one is there already (exit code 2).
    """
    names = [f"{name}.{end}" for name in NAMES for end in ("key", "crt")]
    _absent(folder, (*names, GUID))
    for name in NAMES:
        key = rsa.generate_private_key(65537, 2048)
        plain = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        _write(folder / f"{name}.key", plain, 0o600)
        certificate = _certificate(key, f"{owner} {name}")
        _write(folder / f"{name}.crt", certificate.public_bytes(Encoding.PEM), 0o644)
    _write(folder / GUID, f"{uuid.uuid4()}\n".encode(), 0o644)
    return [folder / name for name in (*names, GUID)]


def _certificate(key: rsa.RSAPrivateKey, name: str) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    begin = dt.datetime.now(dt.UTC).replace(microsecond=0) - dt.timedelta(days=1)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + dt.timedelta(days=365 * _YEARS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )


def fingerprint(folder: Path) -> str:
    """The sha256 of the db certificate (DER), by which firmware knows what it may start.

    Raises:
        HoldfastError: the folder has none (exit code 2).
    """
    path = folder / "db.crt"
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        hint = "make keys with `holdfast image key DIR --secure-boot NAME`"
        raise fail("bad-key", f"there is no certificate: {error}", where=str(path), hint=hint,
                   exit_code=ExitCode.USAGE) from error  # fmt: skip
    return certificate.fingerprint(hashes.SHA256()).hex()


def sign_efi(sandbox: Sandbox, folder: Path, source: Path, target: Path) -> None:
    """Sign an EFI program with db, and look whether the signature holds.

    Raises:
        HoldfastError: sbsign or sbverify is missing or failed.
    """
    key, certificate = folder / "db.key", folder / "db.crt"
    sandbox.run(["sbsign", "--key", key, "--cert", certificate, "--output", target, source])
    sandbox.run(["sbverify", "--cert", certificate, target])


def _absent(folder: Path, names: tuple[str, ...]) -> None:
    there = [name for name in names if (folder / name).exists()]
    if there:
        hint = "give another folder; a key that is lost cannot be made again"
        raise fail("key-there", f"{there[0]} is there already", where=str(folder), hint=hint,
                   exit_code=ExitCode.USAGE)  # fmt: skip


def _write(path: Path, data: bytes, mode: int) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Another writer's file must not be replaced between the look and the write.
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))
    write_whole(path, data, mode)
