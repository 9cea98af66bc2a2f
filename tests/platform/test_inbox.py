"""What every inbox promises, in memory and in PostgreSQL."""

import asyncio
from datetime import UTC, datetime

import msgspec
import pytest

from cbs.platform.inbox import DeadLetter

AT = datetime(2026, 4, 1, tzinfo=UTC)


def letter(position, source="ledger", error="it is broken"):
    return DeadLetter(
        source=source,
        position=position,
        error=error,
        at=AT,
        replayed_at=None,
        fact=msgspec.Raw(b'{"a": "\xc3\xbc"}'),
    )


@pytest.fixture
def inbox(runtime):
    return runtime.inbox


@pytest.fixture
def set_aside(runtime):
    async def kept(*letters):
        async with runtime.database.transaction():
            for each in letters:
                await runtime.inbox.set_aside(each)

    return kept


async def test_a_source_is_heard_from_its_beginning_and_begun_once(runtime, inbox):
    assert await inbox.heard("audit") == 0
    await inbox.begin("audit")
    async with runtime.database.transaction():
        assert await inbox.lock("audit") == 0
        await inbox.move("audit", 3)
    await inbox.begin("audit")

    assert await inbox.heard("audit") == 3
    assert await inbox.heard("ledger") == 0


async def test_who_locks_a_watermark_has_it_alone(runtime, inbox):
    async def hear():
        async with runtime.database.transaction():
            heard = await inbox.lock("ledger")
            await asyncio.sleep(0.01)
            await inbox.move("ledger", heard + 1)

    await asyncio.gather(*(hear() for _ in range(8)))

    assert await inbox.heard("ledger") == 8


async def test_what_is_set_aside_stays_as_it_was(inbox, set_aside):
    await set_aside(letter(2))
    await set_aside(letter(2, error="otherwise"))

    assert await inbox.letters(after=("", 0), limit=9) == [letter(2)]
    assert await inbox.waiting() == 1


async def test_what_is_undone_was_not_set_aside(runtime, inbox):
    async def undone():
        async with runtime.database.transaction():
            await inbox.set_aside(letter(2))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await undone()

    assert await inbox.letters(after=("", 0), limit=9) == []


async def test_letters_are_listed_by_source_and_position(inbox, set_aside):
    ours, theirs = [letter(n) for n in (2, 10)], [letter(n, "accounts") for n in (3, 4)]
    await set_aside(*ours, *theirs)

    assert await inbox.letters(after=("", 0), limit=9) == [*theirs, *ours]
    assert await inbox.letters(after=("accounts", 3), limit=2) == [theirs[1], ours[0]]
    assert await inbox.letters(after=("ledger", 10), limit=2) == []


async def test_a_replayed_letter_is_kept_but_waits_no_more(runtime, inbox, set_aside):
    await set_aside(letter(2), letter(3))
    async with runtime.database.transaction():
        assert await inbox.letter("ledger", 2) == letter(2)
        assert await inbox.letter("ledger", 4) is None
        await inbox.replayed("ledger", 2, AT)

    replayed, still = await inbox.letters(after=("", 0), limit=9)
    assert (replayed.replayed_at, still.replayed_at) == (AT, None)
    assert await inbox.waiting() == 1
