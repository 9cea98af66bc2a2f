"""Document numbers are kept encrypted, and found again by a keyed hash that tells nothing else.

AES-256-GCM with a nonce of its own for each number (NIST SP 800-38D) and the document's id as
associated data, so that a ciphertext moved to another row does not open. The hash is
HMAC-SHA-256: with 10^12 possible Aadhaar numbers a plain one could be searched through.
"""

import hmac
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from cbs.customers.domain.document import DocumentType, Number
from cbs.platform.settings import Misconfigured

KEY_BYTES, NONCE_BYTES = 32, 12
# The first byte of what is sealed says how, so that another cipher or key can follow.
AES_256_GCM = b"\x01"


class ProofStore(Protocol):
    async def first_proof(self, proof: bytes) -> bytes:
        """Keep it, unless one is kept already; returns the one that is."""
        ...


class NotSealedHere(Exception):
    """A sealed number does not open: another key, another row, or it was tampered with."""


# Not `slots`: the keys are derived when they are first needed, and then kept.
@dataclass(frozen=True)
class Vault:
    """`file` holds 64 hexadecimal digits; the keys made from it stay in this object."""

    file: Path

    def seal(self, number: Number, *, document_id: UUID) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, number.whole.encode(), document_id.bytes)
        return AES_256_GCM + nonce + sealed

    def open(self, sealed: bytes, *, document_id: UUID) -> Number:
        how, nonce, rest = sealed[:1], sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :]
        if how != AES_256_GCM:
            raise NotSealedHere
        try:
            return Number(self._cipher.decrypt(nonce, rest, document_id.bytes).decode())
        except InvalidTag:
            raise NotSealedHere from None

    def index(self, name: tuple[DocumentType, str, Number]) -> bytes:
        """Equal for equal documents, and without the key as good as random."""
        type, issuer, number = name
        return self.mark("\n".join([type, issuer, number.whole]).encode())

    def mark(self, text: bytes) -> bytes:
        return hmac.digest(self._index_key, text, "sha256")

    async def check(self, store: ProofStore) -> None:
        """Raises Misconfigured unless this is the key that the database was begun with.

        With another, known numbers would be taken for new ones, and none could be read.
        """
        proof = self.mark(b"this is the key")
        if not hmac.compare_digest(await store.first_proof(proof), proof):
            raise Misconfigured(
                "CBS_VAULT_KEY_FILE is not the key that this database was begun with"
            )

    @cached_property
    def _cipher(self) -> AESGCM:
        return AESGCM(self._derived(b"cbs customers seal"))

    @cached_property
    def _index_key(self) -> bytes:
        return self._derived(b"cbs customers index")

    def _derived(self, purpose: bytes) -> bytes:
        return HKDF(SHA256(), KEY_BYTES, salt=None, info=purpose).derive(self._key())

    def _key(self) -> bytes:
        try:
            key = bytes.fromhex(self.file.read_text().strip())
        except (OSError, ValueError) as error:
            raise Misconfigured(f"CBS_VAULT_KEY_FILE: {type(error).__name__}") from None
        if len(key) != KEY_BYTES:
            raise Misconfigured(f"CBS_VAULT_KEY_FILE: not {2 * KEY_BYTES} hexadecimal digits")
        return key
