"""The accounts service dies between any two of its steps, and finishes by itself afterwards; a
real ledger, a real database, and the task that runs in the service."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import httpx
import pytest

from cbs.platform.bus import Bus
from cbs.platform.outbox import fact_of
from cbs.platform.saga import Sagas
from tests.accounts.conftest import TELLER, Bank
from tests.serving import serving

OPENING_MOMENTS, CLOSING_MOMENTS, FINISHED_SECONDS_MAX = 8, 9, 15


class Crash(Exception):
    """The process is gone; what it had done is done."""


class Dying:
    """Dies at one moment: before or after the nth time that it reaches out, and in no other."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, moment: int) -> None:
        self.moment, self.passed = moment, 0
        for owner, name in ((Sagas, "_move"), (Bus, "call")):
            monkeypatch.setattr(owner, name, self._mortal(getattr(owner, name)))

    def _mortal(self, act: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def mortal(*args: Any, **kwargs: Any) -> Any:
            self._pass()
            result = await act(*args, **kwargs)
            self._pass()
            return result

        return mortal

    def _pass(self) -> None:
        self.passed += 1
        if self.passed == self.moment:
            raise Crash


async def finished(bank: Bank, key: str) -> dict[str, Any]:
    """What the key tells once the service has finished by itself."""
    await bank.run_out_leases()
    async with asyncio.timeout(FINISHED_SECONDS_MAX):
        while True:
            told = (await bank.teller.get(f"/v1/accounts/requests/{key}")).json()
            if told["state"] == "answered":
                return dict(told)
            await asyncio.sleep(0.05)


async def facts(bank: Bank, account_id: str) -> list[tuple[str, str, str]]:
    found = await bank.accounts.service.runtime.outbox.after(0, limit=200)
    said = [fact_of(body) for _, _, body in found]
    return [
        (fact.name, fact.event.actor, fact.event.onbehalfof)
        for fact in said
        if fact.event.subject == account_id
    ]


async def crashing(bank: Bank, moment: int, ask: Callable[[], Awaitable[httpx.Response]]) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        dying = Dying(monkeypatch, moment)
        died = await ask()
    assert (died.status_code, dying.passed) == (500, moment), died.text


async def test_an_opening_ends_in_one_account_wherever_it_crashed(bank: Bank):
    for moment in range(1, OPENING_MOMENTS + 1):
        body = {"customer_id": str(uuid4()), "product": "SAVINGS-INR"}
        key = {"Idempotency-Key": f"crashed-{moment:04}"}

        def ask(body: Any = body, key: Any = key) -> Awaitable[httpx.Response]:
            return bank.teller.post("/v1/accounts", json=body, headers=key)

        await crashing(bank, moment, ask)
        told = await finished(bank, f"crashed-{moment:04}")
        first, second = await ask(), await ask()

        assert (told["status"], told["answer"]) == (201, first.json()), moment
        assert (first.status_code, first.content) == (201, second.content)
        [found] = [n for n in await bank.chart() if n["number"] == first.json()["number"]]
        assert found["version"] == 1
        by_itself = ("accounts", "tara") if moment < OPENING_MOMENTS else ("tara", "")
        assert await facts(bank, first.json()["id"]) == [("account-opened", *by_itself)]
    assert len(await bank.chart()) == OPENING_MOMENTS


async def test_a_refused_closing_leaves_a_usable_account_wherever_it_crashed(bank: Bank):
    for moment in range(1, CLOSING_MOMENTS + 1):
        account = await bank.opened()
        await bank.pay(account, 5)
        key = {"Idempotency-Key": f"crashed-{moment:04}"}

        def ask(account: Any = account, key: Any = key) -> Awaitable[httpx.Response]:
            path = f"/v1/accounts/{account['id']}/close"
            return bank.teller.post(path, json={"reason": "moved"}, headers=key)

        await crashing(bank, moment, ask)
        told = await finished(bank, f"crashed-{moment:04}")
        first, second = await ask(), await ask()

        assert (told["status"], told["answer"]) == (409, first.json()), moment
        assert first.json()["type"] == "urn:cbs:account-not-empty"
        assert (first.status_code, first.content) == (409, second.content)
        assert (await bank.pay(account, -5)).status_code == 201
        now = (await bank.teller.get(f"/v1/accounts/{account['id']}")).json()
        assert (now["state"], now["settled"], now["balance_minor"]) == ("open", True, 0)
        assert (await bank.in_the_book(account))["version"] == now["version"]
        assert [name for name, _, _ in await facts(bank, account["id"])] == ["account-opened"]


async def test_a_crashed_freeze_holds_when_the_same_key_is_answered(bank: Bank):
    account = await bank.opened()
    key = {"Idempotency-Key": "freeze-01"}

    def ask() -> Awaitable[httpx.Response]:
        path = f"/v1/accounts/{account['id']}/freeze"
        return bank.teller.post(path, json={"scope": "all", "reason": "x"}, headers=key)

    await crashing(bank, 1, ask)
    told = (await bank.teller.get("/v1/accounts/requests/freeze-01")).json()
    still_paid = await bank.pay(account, 1)
    await bank.run_out_leases()
    answered = await ask()
    blocked = await bank.pay(account, 1)

    assert (told["state"], still_paid.status_code) == ("under-way", 201)
    assert (answered.status_code, blocked.status_code) == (200, 409)


async def test_an_asker_who_is_cut_off_is_answered_later(bank: Bank):
    for pause in (0.001, 0.005, 0.01, 0.02, 0.04):
        key = f"cut-off-{pause}"
        body = {"customer_id": str(uuid4()), "product": "SAVINGS-INR"}
        ask = bank.teller.post("/v1/accounts", json=body, headers={"Idempotency-Key": key})
        task = asyncio.create_task(ask)
        await asyncio.sleep(pause)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

        await bank.run_out_leases()
        again = await bank.teller.post("/v1/accounts", json=body, headers={"Idempotency-Key": key})

        assert again.status_code == 201, again.text
        found = await bank.teller.get(f"/v1/accounts?customer_id={body['customer_id']}")
        assert len(found.json()["items"]) == 1


async def test_while_the_ledger_is_away_nothing_is_lost(
    accounts, ledger_service, customers, signer
):
    body = {"customer_id": str(uuid4()), "product": "SAVINGS-INR"}
    key = {"Idempotency-Key": "patience"}
    async with accounts.client("tara", *TELLER) as teller:
        away = await teller.post("/v1/accounts", json=body, headers=key)
        told = await teller.get("/v1/accounts/requests/patience")
        waiting = await accounts.service.queues()
        async with serving(ledger_service, signer) as ledger:
            bank = Bank(accounts, ledger, customers, teller)
            finally_told = await finished(bank, "patience")
            answered = await teller.post("/v1/accounts", json=body, headers=key)
            chart = await bank.chart()
        rest = await accounts.service.queues()

    assert (away.status_code, away.headers["retry-after"]) == (503, "1")
    assert (told.json()["state"], waiting["sagas"]) == ("under-way", 1)
    assert (answered.status_code, answered.json()) == (201, finally_told["answer"])
    assert [each["number"] for each in chart] == [answered.json()["number"]]
    assert rest["sagas"] == 0
