"""Every change is asked for with a key, has one effect, and the answer can be asked for again.

The key and a fingerprint of the request are written in the transaction that has the effect, with
the answer. A business refusal is an answer, too: its effects are undone and it is kept.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol, runtime_checkable

import msgspec

from cbs.kernel.answer import Answer
from cbs.kernel.published import published_as
from cbs.kernel.refusal import KeyReused, Refusal
from cbs.platform.database import Database

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


CLAIM = """
    INSERT INTO request (principal, key, fingerprint, asked_at) VALUES ($1, $2, $3, $4)
    ON CONFLICT DO NOTHING RETURNING true"""
EARLIER = "SELECT fingerprint, status, body FROM request WHERE principal = $1 AND key = $2"
ANSWER = """
    UPDATE request SET status = $3, body = $4, answered_at = $5
    WHERE principal = $1 AND key = $2 AND status IS NULL"""
FIND = """
    SELECT key, asked_at, answered_at, status, body FROM request
    WHERE principal = $1 AND key = $2"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresKeys:
    database: Database
    refused: Callable[[Refusal], Answer]

    async def once(self, asked: Key, effect: Effect) -> Answer | None:
        async with self.database.transaction():
            connection = self.database.connection
            # Waits for a request with this key that is in flight, here or in another instance.
            if not await connection.fetchval(
                CLAIM, asked.principal, asked.key, asked.fingerprint, asked.at
            ):
                row = await connection.fetchrow(EARLIER, asked.principal, asked.key)
                if row["fingerprint"] != asked.fingerprint:
                    raise KeyReused
                return row["body"] and Answer(status=row["status"], body=row["body"])
            try:
                async with connection.transaction():
                    answer = await effect()
            except Refusal as refusal:
                if not refusal.lasting:
                    raise
                answer = self.refused(refusal)
            if answer is not None:
                await connection.execute(
                    ANSWER, asked.principal, asked.key, answer.status, answer.body, asked.at
                )
            return answer

    async def answer(self, *, principal: str, key: str, answer: Answer, at: datetime) -> None:
        await self.database.connection.execute(
            ANSWER, principal, key, answer.status, answer.body, at
        )

    async def find(self, *, principal: str, key: str) -> KeyedRequest | None:
        row = await self.database.fetchrow(FIND, principal, key)
        if row is None:
            return None
        return KeyedRequest(
            key=row["key"],
            state=KeyState.UNDER_WAY if row["status"] is None else KeyState.ANSWERED,
            asked_at=row["asked_at"],
            answered_at=row["answered_at"],
            status=row["status"],
            answer=msgspec.Raw(row["body"]) if row["body"] else None,
        )
