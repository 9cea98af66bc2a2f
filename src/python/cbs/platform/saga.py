"""A saga is finished by whoever finds it unfinished: the caller's request, else this service.

Its row is begun in the transaction that claims the caller's key. Who begins or takes it has a lease
of it; a step is taken by compare and set, so that a lease that ran out while its holder was only
slow does no harm.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import structlog

from cbs.kernel.answer import Answer
from cbs.kernel.principal import Principal
from cbs.kernel.refusal import Refusal, Unavailable
from cbs.kernel.saga import DONE, Effect, Requester, Saga, SagaDefinition, SagaUnderWay, nothing
from cbs.platform.context import Context, current, now, within
from cbs.platform.database import UNREACHABLE, Transactions
from cbs.platform.idempotency import Key, KeyStore
from cbs.platform.outbox import Outbox

# However long an outage was, the bank is settled within 10 s of its end. So a lease whose holder
# died may be no longer than it must: one call to another service. Two who hold it do no harm.
LEASE_SECONDS = 6.0
RETRY_SECONDS, RETRY_SECONDS_MAX = 0.5, 4.0
DRIVEN_AT_ONCE_MAX, IDLE_SECONDS, DATABASE_PAUSE_SECONDS = 4, 0.5, 2.0
WAIT_SECONDS_MAX, LOOK_AGAIN_SECONDS = 5.0, 0.05

log = structlog.get_logger()


class SagaStore(Protocol):
    """Sagas of one service. A lease is over by the store's own clock: instances need not agree."""

    async def begin(self, saga: Saga[Any]) -> None:
        """Keep a new one, in the caller's transaction, who has the lease of it."""
        ...

    async def is_at(self, saga: Saga[Any]) -> bool:
        """Lock it, in the caller's transaction; False if somebody took its step before."""
        ...

    async def move(self, saga: Saga[Any]) -> None:
        """Keep its new step, data and refusal, in the caller's transaction."""
        ...

    async def take(self, *, principal: str, key: str) -> Saga[Any] | None:
        """The unfinished one under this key, unless somebody has the lease of it."""
        ...

    async def take_due(self, *, limit: int) -> Sequence[Saga[Any]]:
        """Those of which nobody has the lease any more, longest waiting first."""
        ...

    async def defer(self, saga: Saga[Any], *, seconds: float, error: str) -> None:
        """Give up the lease, and let nobody have it for so long."""
        ...

    async def unfinished(self) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Sagas:
    """Drives the sagas of a service. `refused` makes the answer that a refusal is kept as."""

    database: Transactions
    store: SagaStore
    keys: KeyStore
    outbox: Outbox
    principal: Principal
    refused: Callable[[Refusal], Answer]
    definitions: Mapping[str, SagaDefinition[Any]]

    async def run(self, key: Key, begin: Callable[[Requester], Awaitable[Saga[Any]]]) -> Answer:
        """Begin one if this is the key's first request, and answer when it is finished.

        `begin` makes the saga in the transaction that claims the key. Raises Unavailable when it
        takes too long: the bank finishes it, and the key will tell.
        """
        begun: Saga[Any] | None = None

        async def effect() -> None:
            nonlocal begun
            begun = await begin(_requester(key))

        clock = asyncio.get_running_loop().time
        until = clock() + current().seconds_left(WAIT_SECONDS_MAX)
        while True:
            try:
                answer = await self.keys.once(key, effect)
            except SagaUnderWay:
                # Nothing was kept; what is in the way is mostly gone in a moment.
                if clock() >= until:
                    raise
            else:
                if answer is None:
                    saga = begun or await self.store.take(principal=key.principal, key=key.key)
                    begun = None
                    answer = await self.drive(saga) if saga is not None else None
                if answer is not None:
                    return answer
            if clock() >= until:
                raise Unavailable("under way: ask again with the same key")
            await asyncio.sleep(LOOK_AGAIN_SECONDS)

    async def run_own(self, key: str, begin: Callable[[Requester], Awaitable[Saga[Any]]]) -> Answer:
        """As `run`, of what this service does by itself under a key that says what it is."""
        own = Key(principal=self.principal.id, key=key, fingerprint=b"", at=now())
        return await self.run(own, begin)

    async def drive(self, saga: Saga[Any]) -> Answer | None:
        """Take what steps are left, by the lease that the caller has; None if another took one.

        Raises Unavailable when one cannot be taken now; this service then goes on by itself.
        """
        try:
            while True:
                moved = await self._take_step(saga)
                if moved is None:
                    return None
                saga, answer = moved
                if saga.step == DONE:
                    return answer
        except Refusal as refusal:
            error = f"{refusal.code}: {refusal.detail}"
            pause = min(RETRY_SECONDS * 2 ** min(saga.tries, 10), RETRY_SECONDS_MAX)
            await self.store.defer(saga, seconds=pause, error=error)
            raise Unavailable(f"not yet: {error}") from refusal

    async def _take_step(self, saga: Saga[Any]) -> tuple[Saga[Any], Answer | None] | None:
        definition = self.definitions[saga.kind]
        try:
            effect = await definition.step(saga.step).take(saga)
        except Refusal as refusal:
            undone = definition.refused(saga.step)
            if not refusal.lasting or undone is None:
                raise
            answer = self.refused(refusal)
            moved = replace(saga, step=undone, refusal=answer, refusal_code=refusal.code)
            return await self._move(saga, moved, nothing)
        return await self._move(saga, replace(saga, step=definition.following(saga.step)), effect)

    async def _move(
        self, saga: Saga[Any], moved: Saga[Any], effect: Effect[Any]
    ) -> tuple[Saga[Any], Answer | None] | None:
        async with self.database.transaction():
            if not await self.store.is_at(saga):
                return None
            outcome = await effect()
            moved = replace(
                moved, data=moved.data if outcome.data is None else outcome.data, tries=0
            )
            await self.store.move(moved)
            await self.outbox.put(*outcome.events)
            answer = None
            if moved.step == DONE:
                answer = moved.refusal or outcome.answer
                assert answer is not None, f"the last step of a saga has the answer: {saga}"
                who = saga.requester
                await self.keys.answer(
                    principal=who.principal, key=who.key, answer=answer, at=now()
                )
        return moved, answer

    async def finish_due(self) -> int:
        """Drive sagas that were left behind; how many there were."""
        due = await self.store.take_due(limit=DRIVEN_AT_ONCE_MAX)
        outcomes = await asyncio.gather(
            *(self._drive_as_service(saga) for saga in due), return_exceptions=True
        )
        for saga, outcome in zip(due, outcomes, strict=True):
            # Nobody waits here; the lease runs out, and it is tried again.
            if isinstance(outcome, (Refusal, *UNREACHABLE)):
                log.warning("saga-not-yet-finished", saga=str(saga.id), error=repr(outcome))
            elif isinstance(outcome, BaseException):
                log.error("saga-failed", saga=str(saga.id), exc_info=outcome)
        return len(due)

    async def _drive_as_service(self, saga: Saga[Any]) -> None:
        who = saga.requester
        context = Context(
            principal=self.principal,
            on_behalf_of=who.on_behalf_of or who.principal,
            correlation_id=who.correlation_id,
        )
        with within(context):
            await self.drive(saga)

    async def finish_for_ever(self) -> None:
        while True:
            try:
                found = await self.finish_due()
            except UNREACHABLE as error:
                log.warning("database-unavailable", error=repr(error))
                await asyncio.sleep(DATABASE_PAUSE_SECONDS)
                continue
            if not found:
                await asyncio.sleep(IDLE_SECONDS)


def _requester(key: Key) -> Requester:
    context = current()
    return Requester(
        principal=key.principal,
        key=key.key,
        on_behalf_of=context.on_behalf_of,
        correlation_id=context.correlation_id,
    )
