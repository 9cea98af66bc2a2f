"""Every change is asked for with a key, has one effect, and the answer can be asked for again.

The key and a fingerprint of the request are written in the transaction that has the effect, with
the answer. A business refusal is an answer, too: its effects are undone and it is kept. That it was
kept is told as a fact, so that nobody can edit or remove it afterwards without being found.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

import msgspec

from cbs.kernel.answer import Answer
from cbs.kernel.event import Event
from cbs.kernel.published import published_as
from cbs.kernel.refusal import KeyReused, Refusal
from cbs.platform.database import Database, Transactions
from cbs.platform.outbox import Outbox

KEY_CHARACTERS_MIN, KEY_CHARACTERS_MAX = 8, 64
KEY_PATTERN = r"^[A-Za-z0-9._-]+$(?!\n)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One request for a change: whose, under which key, and what exactly (a SHA-256)."""

    principal: str
    key: str
    fingerprint: bytes
    at: datetime


@published_as("cbs.platform.requests.State")
class KeyState(StrEnum):
    ANSWERED = "answered"
    UNDER_WAY = "under-way"


@published_as("Request")
class KeyedRequest(msgspec.Struct, kw_only=True, frozen=True):
    """What became of a request. Under way: ask again; the bank finishes it by itself."""

    key: str
    state: KeyState
    asked_at: datetime
    answered_at: datetime | None = None
    status: int | None = None
    answer: msgspec.Raw | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestAnswered(Event):
    """The answer to a request is kept under its key; `digest` is `digest_of` what is kept."""

    fact = "request-answered"
    about = "key"

    principal: str
    key: str
    status: int
    digest: str


def digest_of(
    *,
    principal: str,
    key: str,
    fingerprint: bytes,
    status: int,
    body: bytes,
    asked_at: datetime,
    answered_at: datetime,
) -> str:
    """SHA-256 of a kept request in hexadecimal digits. Where an answer could be guessed from it,
    the fingerprint must be one that cannot."""
    kept = [principal, key, fingerprint, status, body, asked_at, answered_at]
    return hashlib.sha256(msgspec.json.encode(kept)).hexdigest()


Effect = Callable[[], Awaitable[Answer | None]]


@runtime_checkable
class KeyStore(Protocol):
    """The keys of one service."""

    async def once(self, asked: Key, effect: Effect) -> Answer | None:
        """Have the effect in one transaction with the key, or give the first answer again.

        None from the effect, and to the caller: begun, and answered later through `answer`; the
        same key then gets None until it is. Raises KeyReused for another request under the key.
        """
        ...

    async def answer(self, *, principal: str, key: str, answer: Answer, at: datetime) -> None:
        """Answer what is under way, in the caller's transaction. The first answer stays."""
        ...

    async def find(self, *, principal: str, key: str) -> KeyedRequest | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptRequest:
    """What is kept under a key."""

    fingerprint: bytes
    request: KeyedRequest

    @property
    def answer(self) -> Answer | None:
        status, body = self.request.status, self.request.answer
        if status is None or body is None:
            return None
        return Answer(status=status, body=bytes(body))


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys(ABC):
    """A KeyStore, wherever it keeps them; they join the caller's transaction."""

    database: Transactions
    outbox: Outbox
    refused: Callable[[Refusal], Answer]

    @abstractmethod
    async def claim(self, asked: Key) -> bool:
        """Keep the key, without an answer; False if it is kept already.

        Waits for a request with this key that is in flight, here or in another instance.
        """

    @abstractmethod
    async def kept(self, *, principal: str, key: str) -> KeptRequest | None: ...

    @abstractmethod
    async def keep(
        self, *, principal: str, key: str, answer: Answer, at: datetime
    ) -> KeptRequest | None:
        """Answer what is under way, and say what is kept; None if nothing is under way."""

    async def answer(self, *, principal: str, key: str, answer: Answer, at: datetime) -> None:
        kept = await self.keep(principal=principal, key=key, answer=answer, at=at)
        if kept is None:
            return
        digest = digest_of(
            principal=principal,
            key=key,
            fingerprint=kept.fingerprint,
            status=answer.status,
            body=answer.body,
            asked_at=kept.request.asked_at,
            answered_at=at,
        )
        fact = RequestAnswered(principal=principal, key=key, status=answer.status, digest=digest)
        await self.outbox.put(fact)

    async def once(self, asked: Key, effect: Effect) -> Answer | None:
        async with self.database.transaction():
            if not await self.claim(asked):
                earlier = await self.kept(principal=asked.principal, key=asked.key)
                assert earlier is not None, asked
                if earlier.fingerprint != asked.fingerprint:
                    raise KeyReused
                return earlier.answer
            try:
                async with self.database.savepoint():
                    answer = await effect()
            except Refusal as refusal:
                if not refusal.lasting:
                    raise
                answer = self.refused(refusal)
            if answer is not None:
                await self.answer(
                    principal=asked.principal, key=asked.key, answer=answer, at=asked.at
                )
            return answer

    async def find(self, *, principal: str, key: str) -> KeyedRequest | None:
        kept = await self.kept(principal=principal, key=key)
        return kept.request if kept is not None else None


CLAIM = """
    INSERT INTO request (principal, key, fingerprint, asked_at) VALUES ($1, $2, $3, $4)
    ON CONFLICT DO NOTHING RETURNING true AS claimed"""
KEPT = """
    SELECT key, fingerprint, asked_at, answered_at, status, body FROM request
    WHERE principal = $1 AND key = $2"""
ANSWER = """
    UPDATE request SET status = $3, body = $4, answered_at = $5
    WHERE principal = $1 AND key = $2 AND status IS NULL
    RETURNING key, fingerprint, asked_at, answered_at, status, body"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresKeys(Keys):
    database: Database

    async def claim(self, asked: Key) -> bool:
        return bool(
            await self.database.connection.fetchval(
                CLAIM, asked.principal, asked.key, asked.fingerprint, asked.at
            )
        )

    async def kept(self, *, principal: str, key: str) -> KeptRequest | None:
        row = await self.database.fetchrow(KEPT, principal, key)
        return _to_kept(row) if row else None

    async def keep(
        self, *, principal: str, key: str, answer: Answer, at: datetime
    ) -> KeptRequest | None:
        row = await self.database.connection.fetchrow(
            ANSWER, principal, key, answer.status, answer.body, at
        )
        return _to_kept(row) if row else None


def _to_kept(row: Any) -> KeptRequest:
    request = KeyedRequest(
        key=row["key"],
        state=KeyState.UNDER_WAY if row["status"] is None else KeyState.ANSWERED,
        asked_at=row["asked_at"],
        answered_at=row["answered_at"],
        status=row["status"],
        answer=msgspec.Raw(row["body"]) if row["body"] else None,
    )
    return KeptRequest(fingerprint=row["fingerprint"], request=request)
