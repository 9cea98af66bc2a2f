"""A fingerprint must not give away what it is of.

The rest of a registration stands in this database in clear, so a plain hash of the request would
let a thief try every PAN and Aadhaar number until the hash fits.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from cbs.customers.store.vault import Vault
from cbs.kernel.answer import Answer
from cbs.platform.idempotency import Effect, Key, KeyedRequest, KeyStore


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyedRequests:
    """The keys of this service, with fingerprints made with the vault's key."""

    requests: KeyStore
    vault: Vault

    async def once(self, asked: Key, effect: Effect) -> Answer | None:
        return await self.requests.once(
            replace(asked, fingerprint=self.vault.mark(asked.fingerprint)), effect
        )

    async def answer(self, *, principal: str, key: str, answer: Answer, at: datetime) -> None:
        await self.requests.answer(principal=principal, key=key, answer=answer, at=at)

    async def find(self, *, principal: str, key: str) -> KeyedRequest | None:
        return await self.requests.find(principal=principal, key=key)
