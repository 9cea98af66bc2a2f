"""NATS nkeys: Ed25519 keys in base32 with a prefix and a CRC-16 (nats-io/nkeys, `README.md`)."""

import base64
import binascii

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SEED, USER = 18 << 3, 20 << 3
SEED_BYTES = 32


def new_seed() -> str:
    """The seed of a new user, `SU…`: whoever has it is that user."""
    raw = Ed25519PrivateKey.generate().private_bytes_raw()
    # Two prefixes of five bits each: that it is a seed, and whose.
    return _text(bytes([SEED | USER >> 5, (USER & 31) << 3]) + raw)


def public_of(seed: str) -> str:
    """The public key `U…` of a user's seed."""
    raw = base64.b32decode(seed + "=" * (-len(seed) % 8))[2 : 2 + SEED_BYTES]
    return _text(
        bytes([USER]) + Ed25519PrivateKey.from_private_bytes(raw).public_key().public_bytes_raw()
    )


def _text(raw: bytes) -> str:
    check = binascii.crc_hqx(raw, 0).to_bytes(2, "little")
    return base64.b32encode(raw + check).decode().rstrip("=")
