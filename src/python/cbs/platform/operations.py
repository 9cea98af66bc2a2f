"""What every service lets its callers and operators ask: requests by key, and dead letters."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

import msgspec
from litestar import get, post
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import PathParameter
from litestar.response import Response

from cbs.kernel.refusal import KeyReused, Refusal, RefusalKind
from cbs.platform.consumer import Consumer
from cbs.platform.context import Context, current, now, within
from cbs.platform.database import UNREACHABLE
from cbs.platform.http import Once, needs
from cbs.platform.idempotency import KEY_CHARACTERS_MAX, KEY_PATTERN, KeyedRequest, KeyStore
from cbs.platform.inbox import DeadLetter, Inbox
from cbs.platform.outbox import fact_of
from cbs.platform.paging import (
    PAGE_ITEMS_DEFAULT,
    Cursor,
    Limit,
    Page,
    cursor_of,
    page_of,
    place_of,
)
from cbs.platform.problem import refusals

# What PostgreSQL can be asked for; JSON numbers are exact up to POSITION_MAX.
POSITION_MAX = 2**53 - 1
SOURCE = r"^[a-z]*$(?!\n)"

Key = Annotated[str, PathParameter(pattern=KEY_PATTERN, max_length=KEY_CHARACTERS_MAX)]
Source = Annotated[str, PathParameter(pattern=SOURCE)]
Position = Annotated[int, PathParameter(ge=1, le=POSITION_MAX)]


class NoSuchRequest(Refusal):
    """No request with this key had an effect or an answer: asking with it is safe."""

    code = "no-such-request"
    kind = RefusalKind.NOT_FOUND


class NoSuchDeadLetter(Refusal):
    """No fact was set aside under this source and position."""

    code = "no-such-dead-letter"
    kind = RefusalKind.NOT_FOUND


class StillIndigestible(Refusal):
    """The dead letter failed again; it stays where it was."""

    code = "still-indigestible"


class Place(msgspec.Struct, array_like=True):
    """Where a page of dead letters ended."""

    source: Annotated[str, msgspec.Meta(pattern=SOURCE)] = ""
    position: Annotated[int, msgspec.Meta(ge=0, le=POSITION_MAX)] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetters:
    inbox: Inbox
    consumers: Sequence[Consumer] = field(default_factory=list)

    async def replay(self, *, source: str, position: int) -> DeadLetter:
        """Handle it again, in the caller's transaction; a second replay changes nothing."""
        letter = await self.inbox.letter(source, position)
        consumer = next((each for each in self.consumers if each.source == source), None)
        if letter is None or consumer is None:
            raise NoSuchDeadLetter
        if letter.replayed_at is not None:
            return letter
        fact = fact_of(bytes(letter.fact))
        context = Context(
            principal=consumer.principal,
            on_behalf_of=current().principal.id,
            correlation_id=fact.event.correlationid,
            causation_id=str(fact.event.id),
        )
        try:
            with within(context):
                await consumer.handle([fact])
        except UNREACHABLE:
            raise
        except Exception as error:
            raise StillIndigestible(repr(error)[:500]) from error
        at = now()
        await self.inbox.replayed(source, position, at)
        return msgspec.structs.replace(letter, replayed_at=at)


def request_routes(service: str) -> list[HTTPRouteHandler]:
    @get(
        f"/v1/{service}/requests/{{key:str}}",
        operation_id=f"{service}.request",
        summary="What became of the request that the caller made under this key",
        responses=refusals(NoSuchRequest, anybody=True),
    )
    async def request(key: Key, requests: NamedDependency[KeyStore]) -> KeyedRequest:
        found = await requests.find(principal=current().principal.id, key=key)
        if found is None:
            raise NoSuchRequest
        return found

    return [request]


def dead_letter_routes(service: str) -> list[HTTPRouteHandler]:
    @get(
        f"/v1/{service}/dead-letters",
        operation_id=f"{service}.dead-letters",
        summary="Facts that could not be digested",
        opt=needs("operations.read"),
        responses=refusals(),
    )
    async def dead_letters(
        letters: NamedDependency[DeadLetters],
        cursor: Cursor = "",
        limit: Limit = PAGE_ITEMS_DEFAULT,
    ) -> Page[DeadLetter]:
        place = place_of(cursor, Place) if cursor else Place()
        items = await letters.inbox.letters(after=(place.source, place.position), limit=limit)
        return page_of(items, limit, lambda last: cursor_of(last.source, last.position))

    @post(
        f"/v1/{service}/dead-letters/{{source:str}}/{{position:int}}/replay",
        operation_id=f"{service}.dead-letters.replay",
        summary="Digest a dead letter again",
        status_code=200,
        opt=needs("operations.replay"),
        responses=refusals(KeyReused, NoSuchDeadLetter, StillIndigestible),
    )
    async def replay(
        source: Source,
        position: Position,
        once: NamedDependency[Once],
        letters: NamedDependency[DeadLetters],
    ) -> Response[DeadLetter]:
        return await once(
            lambda: letters.replay(source=source, position=position), lambda letter: letter
        )

    return [dead_letters, replay]
