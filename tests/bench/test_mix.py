"""The load of a soak: its rate does not wait for the bank, and nothing is lost in its counts."""

import asyncio
import time

import pytest

from cbs.tools.lab.bench import mix
from cbs.tools.lab.bench.mix import Mix, Traffic
from cbs.tools.local.public_api import ApiReply, PublicApi

ACCOUNTS = ["00010000000011", "00010000000029", "00010000000037", "00010000000045"]


class Api(PublicApi):
    """Answers all that is asked with the same, after a while."""

    reply = ApiReply(200, b"{}")
    seconds = 0.0

    async def once(self, method, path, body=None, *, key=""):
        await asyncio.sleep(self.seconds)
        return self.reply


def traffic(monkeypatch, reply=ApiReply(200, b"{}"), seconds=0.0, **wanted):  # noqa: B008
    monkeypatch.setattr(Api, "reply", reply)
    monkeypatch.setattr(Api, "seconds", seconds)
    monkeypatch.setattr(mix, "WEIGHTS", {**mix.WEIGHTS, "opening": 0})
    job = Mix(
        name="mix-test",
        seconds=0.5,
        window_seconds=1,
        token="t",
        accounts=ACCOUNTS,
        http_url="http://127.0.0.1:1",
        **wanted,
    )
    return Traffic(job, Api(job.http_url, job.token))


async def test_a_rate_is_kept_by_a_bank_that_answers_slowly(monkeypatch):
    slow = traffic(monkeypatch, seconds=0.4, rate=200)
    await mix.opened(slow, time.perf_counter() + 0.5)
    found = slow.window()

    assert 50 < found.done < 160, "as many as were due in the time, not as many as were answered"
    assert found.p50_ms >= 400


async def test_who_has_waited_too_long_in_the_queue_is_counted_as_missed(monkeypatch):
    monkeypatch.setattr(mix, "UNDER_WAY_MAX", 5)
    stuck = traffic(monkeypatch, seconds=0.4, rate=200)
    await mix.opened(stuck, time.perf_counter() + 0.3)
    found = stuck.window()

    assert found.done <= 10
    assert found.missed > 10


async def test_clients_ask_again_when_they_are_answered(monkeypatch):
    quick = traffic(monkeypatch, seconds=0.01, clients=4)
    await mix.closed(quick, time.perf_counter() + 0.3)

    assert 8 < quick.window().done <= 4 * 31
    assert quick.window().done == 0, "a window begins with nothing"


@pytest.mark.parametrize(("retry_after", "mute"), [(b"1", 0), (b"", 1)])
async def test_a_refusal_is_counted_and_must_say_when_to_come_back(monkeypatch, retry_after, mute):
    busy = traffic(monkeypatch, reply=ApiReply(429, b"{}", retry_after), clients=1)
    await busy.one(time.perf_counter())
    found = busy.window()

    assert (found.done, found.refused) == (0, {"429": 1})
    assert found.without_retry_after == mute


async def test_a_cut_is_no_refusal(monkeypatch):
    cut = traffic(monkeypatch, clients=1)

    async def once(*_, **__):
        raise ConnectionError

    monkeypatch.setattr(Api, "once", once)
    await cut.one(time.perf_counter())

    assert cut.window().refused == {"ConnectionError": 1}
