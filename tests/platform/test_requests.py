"""The promise of keys, held to on real PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime

import pytest

from cbs.kernel.answer import Answer
from cbs.kernel.refusal import KeyReused, NotPermitted, Refusal
from cbs.platform.database import Database
from cbs.platform.idempotency import Key, KeyState, PostgresKeys
from cbs.platform.problem import answer_of
from tests.conftest import Database as Place

AT = datetime(2026, 4, 1, tzinfo=UTC)
DONE = Answer(status=201, body=b'{"done":true}')


class NoFunds(Refusal):
    """Not enough."""

    code = "no-funds"


@pytest.fixture
async def requests(database: Callable[[str], Place]) -> AsyncIterator[PostgresKeys]:
    """The ledger's keys; its account table stands for an effect."""
    connected = Database(database("ledger").runtime_url)
    await connected.open()
    yield PostgresKeys(database=connected, refused=answer_of)
    await connected.close()


def asked(key: str = "key-0001", what: bytes = b"this", principal: str = "tara") -> Key:
    return Key(principal=principal, key=key, fingerprint=what, at=AT)


class Effect:
    """Blocks an account and counts how often; then answers, refuses or fails as told."""

    def __init__(self, requests: PostgresKeys, then: Exception | Answer | None = DONE) -> None:
        self.requests, self.then, self.times = requests, then, 0

    async def __call__(self) -> Answer | None:
        self.times += 1
        await self.requests.database.execute("UPDATE account SET version = version + 1")
        if isinstance(self.then, Exception):
            raise self.then
        return self.then

    async def seen(self) -> int:
        row = await self.requests.database.fetchrow("SELECT max(version) - 1 AS n FROM account")
        return int(row["n"])


async def test_one_key_one_effect_one_answer(requests):
    effect = Effect(requests)
    answers = [await requests.once(asked(), effect) for _ in range(3)]

    assert answers == [DONE] * 3
    assert (effect.times, await effect.seen()) == (1, 1)


async def test_twenty_at_once_have_one_effect(requests):
    effect = Effect(requests)
    answers = await asyncio.gather(*(requests.once(asked(), effect) for _ in range(20)))

    assert answers == [DONE] * 20
    assert await effect.seen() == 1


async def test_another_request_under_the_key_is_refused(requests):
    await requests.once(asked(), Effect(requests))

    with pytest.raises(KeyReused):
        await requests.once(asked(what=b"that"), Effect(requests))
    await requests.once(asked(what=b"that", principal="theo"), Effect(requests))


async def test_a_refusal_undoes_its_effect_and_is_kept(requests):
    effect = Effect(requests, NoFunds("by 5"))
    first = await requests.once(asked(), effect)
    effect.then = DONE

    assert first is not None and first.status == 409 and b"no-funds" in first.body
    assert await requests.once(asked(), effect) == first
    assert (effect.times, await effect.seen()) == (1, 0)


@pytest.mark.parametrize("error", [NotPermitted(), ZeroDivisionError()])
async def test_what_is_no_answer_is_not_kept(requests, error):
    effect = Effect(requests, error)
    with pytest.raises(type(error)):
        await requests.once(asked(), effect)
    assert await requests.find(principal="tara", key="key-0001") is None
    effect.then = DONE

    assert await requests.once(asked(), effect) == DONE
    assert await effect.seen() == 1


async def test_what_is_begun_is_answered_later_and_only_once(requests):
    effect = Effect(requests, None)
    assert await requests.once(asked(), effect) is None
    assert await requests.once(asked(), effect) is None
    found = await requests.find(principal="tara", key="key-0001")
    assert found is not None and found.state is KeyState.UNDER_WAY

    for answer in (DONE, Answer(status=409, body=b"{}")):
        async with requests.database.transaction():
            await requests.answer(principal="tara", key="key-0001", answer=answer, at=AT)

    assert await requests.once(asked(), effect) == DONE
    found = await requests.find(principal="tara", key="key-0001")
    assert found is not None and (found.state, found.status) == (KeyState.ANSWERED, 201)
    assert effect.times == 1
