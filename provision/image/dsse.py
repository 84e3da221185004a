"""DSSE envelopes: a payload, and signatures of it that say what kind of payload it is.

Protocol and form: https://github.com/secure-systems-lab/dsse. An envelope is read only in the one
form that `sealed` writes, so that no byte of it can change unseen.
"""

from __future__ import annotations

import base64
import binascii
import json

from cryptography.hazmat.primitives.asymmetric import ec

from provision.core.exitcodes import ExitCode
from provision.core.problems import fail
from provision.image.definition import canonical
from provision.image.keys import Signer, fingerprint, holds

PAYLOAD_TYPE = "application/vnd.in-toto+json"


def authenticated(payload: bytes, kind: str = PAYLOAD_TYPE) -> bytes:
    """What is signed: the type and the payload, each behind its length."""
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)


def sealed(payload: bytes, signer: Signer) -> str:
    """The text of an envelope around `payload`.

    Raises:
        HoldfastError: it could not be signed.
    """
    signature = signer.sign(authenticated(payload))
    return _text(payload, fingerprint(signer.public), signature)


def opened(text: str, key: ec.EllipticCurvePublicKey, where: str) -> bytes:
    """The payload of an envelope that `key` signed.

    Raises:
        HoldfastError: this is no such envelope, or it is signed by another key (exit code 1).
    """
    try:
        document = json.loads(text)
        payload = base64.b64decode(document["payload"], validate=True)
        (signed,) = document["signatures"]
        signature = base64.b64decode(signed["sig"], validate=True)
        again = _text(payload, str(signed["keyid"]), signature)
    except (KeyError, TypeError, ValueError, binascii.Error, RecursionError) as error:
        raise _refused("this is no envelope", where) from error
    if again != text:
        raise _refused("the envelope is not as it was written", where)
    if signed["keyid"] != fingerprint(key):
        keyid = str(signed["keyid"])[:16]
        raise _refused(f"it is signed by another key ({keyid}, not {fingerprint(key)[:16]})", where)
    if not holds(key, signature, authenticated(payload)):
        raise _refused("the signature does not fit", where)
    return payload


def _text(payload: bytes, keyid: str, signature: bytes) -> str:
    return (
        canonical(
            {
                "payload": base64.b64encode(payload).decode(),
                "payloadType": PAYLOAD_TYPE,
                "signatures": [{"keyid": keyid, "sig": base64.b64encode(signature).decode()}],
            }
        )
        + "\n"
    )


def _refused(why: str, where: str) -> Exception:
    hint = "do not use this image; fetch it again from where it was built"
    return fail("bad-signature", why, where=where, hint=hint, exit_code=ExitCode.FINDINGS)
