"""What every store of keys promises, in memory and in PostgreSQL."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from cbs.kernel.answer import Answer
from cbs.kernel.refusal import KeyReused, NotPermitted, Refusal
from cbs.platform.idempotency import Key, KeyState
from cbs.platform.service import Runtime

AT = datetime(2026, 4, 1, tzinfo=UTC)
DONE = Answer(status=201, body=b'{"done":true}')


class NoFunds(Refusal):
    """Not enough."""

    code = "no-funds"


def asked(key: str = "key-0001", what: bytes = b"this", principal: str = "tara") -> Key:
    return Key(principal=principal, key=key, fingerprint=what, at=AT)


class Effect:
    """Hears one fact more and counts how often; then answers, refuses or fails as told."""

    def __init__(self, runtime: Runtime[Any], then: Exception | Answer | None = DONE) -> None:
        self.inbox, self.then, self.times = runtime.inbox, then, 0

    async def __call__(self) -> Answer | None:
        self.times += 1
        await self.inbox.move("ledger", await self.inbox.lock("ledger") + 1)
        if isinstance(self.then, Exception):
            raise self.then
        return self.then

    async def seen(self) -> int:
        return await self.inbox.heard("ledger")


async def test_one_key_one_effect_one_answer(runtime):
    effect = Effect(runtime)
    answers = [await runtime.requests.once(asked(), effect) for _ in range(3)]

    assert answers == [DONE] * 3
    assert (effect.times, await effect.seen()) == (1, 1)


async def test_twenty_at_once_have_one_effect(runtime):
    effect = Effect(runtime)
    answers = await asyncio.gather(*(runtime.requests.once(asked(), effect) for _ in range(20)))

    assert answers == [DONE] * 20
    assert await effect.seen() == 1


async def test_another_request_under_the_key_is_refused(runtime):
    await runtime.requests.once(asked(), Effect(runtime))

    with pytest.raises(KeyReused):
        await runtime.requests.once(asked(what=b"that"), Effect(runtime))
    await runtime.requests.once(asked(what=b"that", principal="theo"), Effect(runtime))


async def test_a_refusal_undoes_its_effect_and_is_kept(runtime):
    effect = Effect(runtime, NoFunds("by 5"))
    first = await runtime.requests.once(asked(), effect)
    effect.then = DONE

    assert first is not None and first.status == 409 and b"no-funds" in first.body
    assert await runtime.requests.once(asked(), effect) == first
    assert (effect.times, await effect.seen()) == (1, 0)


@pytest.mark.parametrize("error", [NotPermitted(), ZeroDivisionError()])
async def test_what_is_no_answer_is_not_kept(runtime, error):
    effect = Effect(runtime, error)
    with pytest.raises(type(error)):
        await runtime.requests.once(asked(), effect)
    assert await runtime.requests.find(principal="tara", key="key-0001") is None
    effect.then = DONE

    assert await runtime.requests.once(asked(), effect) == DONE
    assert await effect.seen() == 1


async def test_what_is_begun_is_answered_later_and_only_once(runtime):
    effect = Effect(runtime, None)
    assert await runtime.requests.once(asked(), effect) is None
    assert await runtime.requests.once(asked(), effect) is None
    found = await runtime.requests.find(principal="tara", key="key-0001")
    assert found is not None and found.state is KeyState.UNDER_WAY

    for answer in (DONE, Answer(status=409, body=b"{}")):
        async with runtime.database.transaction():
            await runtime.requests.answer(principal="tara", key="key-0001", answer=answer, at=AT)

    assert await runtime.requests.once(asked(), effect) == DONE
    found = await runtime.requests.find(principal="tara", key="key-0001")
    assert found is not None and (found.state, found.status) == (KeyState.ANSWERED, 201)
    assert effect.times == 1
