"""Results and verdicts are signed with an operator's key, so that nobody else can have said it."""

import os
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from cbs.tools.local.folder import write_whole
from cbs.tools.release.gate.records import Deployment, Result, Signed, Verdict

ENVIRONMENT = "CBS_RELEASE_KEY"


class NoKey(Exception):
    """The file that should hold the operator's key does not."""


def make_key(file: Path) -> str:
    """A new private key in a file that only its owner can read; returns the public one."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = Ed25519PrivateKey.generate()
    write_whole(file, key.private_bytes_raw().hex() + "\n")
    return public_half(key)


def read_key(file: Path) -> Ed25519PrivateKey:
    """Raises NoKey."""
    try:
        if os.stat(file).st_mode & 0o077:
            raise NoKey(f"{file} can be read by others: chmod 600 {file}")
        return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(file.read_text().strip()))
    except FileNotFoundError:
        raise NoKey(f"there is no {file}: make it with ./cbs release key {file}") from None
    except ValueError:
        raise NoKey(f"{file} holds no Ed25519 key in hexadecimal") from None


def signed(verdict: Verdict, key: Ed25519PrivateKey) -> Signed:
    body = msgspec.json.encode(verdict)
    return Signed(verdict=msgspec.Raw(body), key=public_half(key), signature=key.sign(body).hex())


def verified_verdict(signed: Signed) -> Verdict | None:
    """The verdict, if it is what was signed with the key that it names."""
    if not _holds(signed.key, signed.signature, bytes(signed.verdict)):
        return None
    try:
        return msgspec.json.decode(signed.verdict, type=Verdict)
    except msgspec.DecodeError:
        return None


def public_half(key: Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes_raw().hex()


def sign(kept: Result | Deployment, key: Ed25519PrivateKey) -> None:
    kept.key, kept.signature = public_half(key), ""
    kept.signature = key.sign(_signed_part(kept)).hex()


def is_as_signed(kept: Result | Deployment) -> bool:
    """By the key that it names; whether that one may, the policy says."""
    return _holds(kept.key, kept.signature, _signed_part(kept))


def _signed_part(kept: Result | Deployment) -> bytes:
    """All but the signature; and of what results were once kept without, only what there is."""
    fields = msgspec.to_builtins(msgspec.structs.replace(kept, signature=""))
    for later in ("log", "over"):
        if not fields.get(later):
            fields.pop(later, None)
    return msgspec.json.encode(fields)


def _holds(key: str, signature: str, body: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(
            bytes.fromhex(signature), body
        )
    except (InvalidSignature, ValueError):
        return False
    return True
