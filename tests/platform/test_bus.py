"""Asking and answering over a real NATS: typed, permitted, bounded, and never a hang."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import nats
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cbs.kernel.principal import Principal
from cbs.kernel.refusal import NotPermitted, Refusal, RefusalKind, Unavailable
from cbs.platform import bus as limits
from cbs.platform import retry
from cbs.platform.bus import Bus, Endpoint
from cbs.platform.context import Context, current, within
from cbs.platform.envelope import Call, RemoteRefusal, Reply
from tests.platform.buses import bus_of
from tests.signing import Signer


class NoSuchCat(Refusal):
    """No cat of this name."""

    code = "no-such-cat"
    kind = RefusalKind.NOT_FOUND


class Ask(msgspec.Struct):
    cat: str


class Told(msgspec.Struct):
    cat: str
    by: str
    for_whom: str
    key: str


@dataclass
class Cats:
    """Answers about cats; `slow` takes its time, `lost` breaks."""

    times: int = 0
    hold: asyncio.Event | None = None

    async def find(self, ask: Ask, key: str) -> Told:
        self.times += 1
        if ask.cat == "slow":
            await asyncio.sleep(30)
        if ask.cat == "held" and self.hold:
            await self.hold.wait()
        if ask.cat == "lost":
            raise ZeroDivisionError("secret inside")
        if ask.cat == "none":
            raise NoSuchCat("none")
        context = current()
        return Told(cat=ask.cat, by=context.principal.id, for_whom=context.on_behalf_of, key=key)


@dataclass
class Line:
    cats: Cats
    caller: Bus
    url: str
    signer: Signer
    refused: list[tuple[str, str]]

    def as_user(self, *permissions: str) -> Any:
        token = self.signer.token("tara", *permissions)
        principal = self.caller.tokens.principal(token)
        return within(Context(principal=principal, token=token, correlation_id="c1"))

    async def ask(self, cat: str, **options: Any) -> Told:
        return await self.caller.call("ledger.cat", Ask(cat=cat), Told, **options)


@pytest.fixture
async def line(nats_url: str, tmp_path: Path) -> AsyncIterator[Line]:
    signer, cats, refused = Signer(), Cats(), []
    server = await bus_of("ledger", nats_url, tmp_path, signer)
    caller = await bus_of("payments", nats_url, tmp_path, signer)

    async def note(principal: Principal, permission: str, _: str) -> None:
        refused.append((principal.id, permission))

    server.on_not_permitted = note
    await server.serve(
        Endpoint(verb="cat", takes=Ask, gives=Told, handle=cats.find, permission="cats.see")
    )
    yield Line(cats, caller, nats_url, signer, refused)
    await server.leave()
    await server.close()
    await caller.close()


async def test_the_callers_own_token_and_key_go_along(line):
    with line.as_user("cats.see"):
        told = await line.ask("tom", key="k1")

    assert (told.cat, told.by, told.for_whom, told.key) == ("tom", "tara", "", "k1")


async def test_a_service_that_asks_for_itself_says_for_whom(line):
    line.caller.own_token = line.signer.token("payments", "cats.see", kind="service")
    with line.as_user():
        told = await line.ask("tom", own=True)

    assert (told.by, told.for_whom) == ("payments", "tara")


async def test_a_refusal_comes_back_as_what_it_was(line):
    with line.as_user("cats.see"), pytest.raises(RemoteRefusal) as caught:
        await line.ask("none")

    refusal = caught.value
    assert (refusal.code, refusal.kind, refusal.detail) == (
        "no-such-cat",
        RefusalKind.NOT_FOUND,
        "none",
    )
    assert refusal.title == "No cat of this name."


async def test_without_the_permission_nothing_is_done_and_it_is_noted(line):
    with line.as_user("cats.feed"), pytest.raises(RemoteRefusal) as caught:
        await line.ask("tom")

    assert caught.value.code == NotPermitted.code
    assert line.refused == [("tara", "cats.see")]
    assert line.cats.times == 0


async def test_a_forged_token_is_refused(line):
    forged = Signer().token("tara", "cats.see")
    principal = line.caller.tokens.principal(line.signer.token("tara"))
    with within(Context(principal=principal, token=forged)), pytest.raises(RemoteRefusal) as caught:
        await line.ask("tom")

    assert caught.value.kind is RefusalKind.UNAUTHENTICATED


async def test_a_bug_is_an_unknown_outcome_and_says_nothing_of_itself(line):
    with line.as_user("cats.see"), pytest.raises(RemoteRefusal) as caught:
        await line.ask("lost")

    assert caught.value.kind is RefusalKind.UNAVAILABLE
    assert "secret" not in f"{caught.value.title} {caught.value.detail}"


async def test_a_deadline_is_kept_by_both_sides(line, monkeypatch):
    monkeypatch.setattr(limits, "TRY_SECONDS_MAX", 0.3)
    started = asyncio.get_running_loop().time()
    context = Context(principal=current().principal, deadline=started + 0.5)
    token = line.signer.token("tara", "cats.see")
    context = Context(principal=context.principal, token=token, deadline=context.deadline)
    with within(context), pytest.raises((Unavailable, RemoteRefusal)):
        await line.ask("slow")

    assert asyncio.get_running_loop().time() - started < 1.5


async def test_when_nobody_serves_the_outcome_is_unknown_at_once(line):
    started = asyncio.get_running_loop().time()
    with line.as_user("cats.see"), pytest.raises(Unavailable):
        await line.caller.call("nobody.home", Ask(cat="tom"), Told)

    assert asyncio.get_running_loop().time() - started < 4


async def test_slow_requests_do_not_hold_up_others_and_are_bounded(line, monkeypatch):
    monkeypatch.setattr(limits, "IN_FLIGHT_MAX", 5)
    line.cats.hold = asyncio.Event()
    with line.as_user("cats.see"):
        held = [asyncio.create_task(line.ask("held")) for _ in range(4)]
        await asyncio.sleep(0.1)
        assert (await line.ask("tom")).cat == "tom"
        held.append(asyncio.create_task(line.ask("held")))
        await asyncio.sleep(0.1)
        with pytest.raises(RemoteRefusal) as caught:
            await line.ask("tom")
        assert caught.value.kind is RefusalKind.BUSY
        line.cats.hold.set()
        assert len(await asyncio.gather(*held)) == 5


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.binary(max_size=400)
    | st.builds(
        lambda token, left, data: msgspec.json.encode(
            {"token": token, "milliseconds_left": left, "data": data}
        ),
        st.text(max_size=40),
        st.integers(-(2**70), 2**70),
        st.recursive(
            st.none() | st.booleans() | st.text(max_size=8) | st.integers(),
            lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=4), x, max_size=3),
        ),
    )
)
async def test_any_bytes_get_a_typed_refusal(line, body):
    client = line.caller._client
    reply = msgspec.json.decode(
        (await client.request("cbs.ledger.cat", body, timeout=2)).data, type=Reply
    )

    assert reply.refused is not None
    assert reply.refused.because in (RefusalKind.MALFORMED, RefusalKind.UNAUTHENTICATED)


async def test_a_message_that_is_too_long_is_refused(line):
    call = Call(
        token=line.signer.token("tara", "cats.see"),
        milliseconds_left=1000,
        data=msgspec.Raw(msgspec.json.encode(Ask(cat="x" * 300_000))),
    )
    client = await nats.connect(line.url)
    reply = await client.request("cbs.ledger.cat", msgspec.json.encode(call), timeout=2)
    await client.close()

    assert b"malformed" in reply.data


async def eventually_told(line, name):
    """On a busy machine the one call that the breaker lets through may come to nothing, too."""
    async with asyncio.timeout(30):
        while True:
            with suppress(Unavailable):
                return (await line.caller.call("ledger.dog", Ask(cat=name), Told)).cat == name
            await asyncio.sleep(0.2)


async def test_a_breaker_spares_who_does_not_answer_and_tries_again(line, monkeypatch, tmp_path):
    monkeypatch.setattr(retry, "TRIES_MAX", 1)
    with line.as_user("cats.see"):
        for _ in range(limits.BREAKER_FAILURES_MAX):
            with pytest.raises(Unavailable):
                await line.caller.call("ledger.dog", Ask(cat="rex"), Told)
        with pytest.raises(Unavailable, match="at present"):
            await line.caller.call("ledger.dog", Ask(cat="rex"), Told)
        assert (await line.ask("tom")).cat == "tom"
        await asyncio.sleep(limits.BREAKER_SECONDS + 0.3)
        kennel = await bus_of("ledger", line.url, tmp_path, line.signer)
        dogs = Endpoint(
            verb="dog", takes=Ask, gives=Told, handle=line.cats.find, permission="cats.see"
        )
        try:
            await kennel.serve(dogs)
            assert await eventually_told(line, "rex")
        finally:
            await kennel.leave()
            await kennel.close()
