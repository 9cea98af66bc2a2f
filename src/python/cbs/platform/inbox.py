"""The inbox is one watermark a source; what could not be handled is set aside beside it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import msgspec

from cbs.kernel.published import published_as
from cbs.platform.database import Database


@published_as("cbs.platform.operations.DeadLetter")
class DeadLetter(msgspec.Struct, kw_only=True, frozen=True):
    """A fact that could not be handled. `fact` is the CloudEvent as it was heard."""

    source: str
    position: int
    error: str
    at: datetime
    replayed_at: datetime | None
    fact: msgspec.Raw


class Inbox(Protocol):
    """How far each source was heard. What changes it joins the caller's transaction."""

    async def begin(self, source: str) -> None:
        """Hear it from its first fact, unless it is heard already; a transaction of its own."""
        ...

    async def heard(self, source: str) -> int:
        """The position of the last fact heard; 0 before the first."""
        ...

    async def lock(self, source: str) -> int:
        """As `heard`, and nobody else moves it before the caller's transaction ends."""
        ...

    async def move(self, source: str, position: int) -> None: ...

    async def set_aside(self, letter: DeadLetter) -> None:
        """One that is set aside already stays as it is."""
        ...

    async def letters(self, *, after: tuple[str, int], limit: int) -> list[DeadLetter]:
        """In the order of source and position."""
        ...

    async def letter(self, source: str, position: int) -> DeadLetter | None:
        """Nobody else gets it this way before the caller's transaction ends."""
        ...

    async def replayed(self, source: str, position: int, at: datetime) -> None: ...

    async def waiting(self) -> int:
        """How many were set aside and not replayed since."""
        ...


BEGIN = "INSERT INTO watermark (source, position) VALUES ($1, 0) ON CONFLICT DO NOTHING"
HEARD = "SELECT position FROM watermark WHERE source = $1"
LOCKED = f"{HEARD} FOR UPDATE"
MOVE = "UPDATE watermark SET position = $2 WHERE source = $1"
SET_ASIDE = """
    INSERT INTO dead_letter (source, position, body, error, at) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (source, position) DO NOTHING"""
LETTERS = """
    SELECT source, position, body, error, at, replayed_at FROM dead_letter
    WHERE (source, position) > ($1, $2) ORDER BY source, position LIMIT $3"""
LETTER = """
    SELECT source, position, body, error, at, replayed_at FROM dead_letter
    WHERE source = $1 AND position = $2 FOR UPDATE"""
REPLAYED = "UPDATE dead_letter SET replayed_at = $3 WHERE source = $1 AND position = $2"
WAITING = "SELECT count(*) FROM dead_letter WHERE replayed_at IS NULL"


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresInbox:
    database: Database

    async def begin(self, source: str) -> None:
        await self.database.execute(BEGIN, source)

    async def heard(self, source: str) -> int:
        row = await self.database.fetchrow(HEARD, source)
        return row["position"] if row else 0

    async def lock(self, source: str) -> int:
        return int(await self.database.connection.fetchval(LOCKED, source))

    async def move(self, source: str, position: int) -> None:
        await self.database.connection.execute(MOVE, source, position)

    async def set_aside(self, letter: DeadLetter) -> None:
        await self.database.connection.execute(
            SET_ASIDE, letter.source, letter.position, bytes(letter.fact), letter.error, letter.at
        )

    async def letters(self, *, after: tuple[str, int], limit: int) -> list[DeadLetter]:
        rows: Sequence[Any] = await self.database.fetch(LETTERS, *after, limit)
        return [_to_letter(row) for row in rows]

    async def letter(self, source: str, position: int) -> DeadLetter | None:
        row = await self.database.fetchrow(LETTER, source, position)
        return _to_letter(row) if row else None

    async def replayed(self, source: str, position: int, at: datetime) -> None:
        await self.database.execute(REPLAYED, source, position, at)

    async def waiting(self) -> int:
        return int((await self.database.fetchrow(WAITING))["count"])


def _to_letter(row: Any) -> DeadLetter:
    return DeadLetter(
        source=row["source"],
        position=row["position"],
        error=row["error"],
        at=row["at"],
        replayed_at=row["replayed_at"],
        fact=msgspec.Raw(row["body"]),
    )
