"""Many at once, on a real database and a real ledger."""

import asyncio
from uuid import uuid4

from tests.accounts.conftest import Bank

AT_ONCE = 20


async def test_one_key_asked_by_many_opens_one_account(bank: Bank):
    body = {"customer_id": str(uuid4()), "product": "SAVINGS-INR"}
    key = {"Idempotency-Key": "only-one-account"}

    answers = await asyncio.gather(
        *(bank.teller.post("/v1/accounts", json=body, headers=key) for _ in range(AT_ONCE))
    )
    other = {**body, "product": "CURRENT-INR"}
    reused = await bank.teller.post("/v1/accounts", json=other, headers=key)

    assert {(answer.status_code, answer.content) for answer in answers} == {
        (201, answers[0].content)
    }
    assert len(await bank.chart()) == 1
    assert (reused.status_code, reused.json()["type"]) == (409, "urn:cbs:key-reused")


async def test_many_openings_at_once_have_numbers_of_their_own(bank: Bank):
    opened = await asyncio.gather(*(bank.opened() for _ in range(AT_ONCE)))

    assert len({account["number"] for account in opened}) == AT_ONCE
    assert len(await bank.chart()) == AT_ONCE


async def test_a_freeze_and_limits_at_once_both_hold(bank: Bank):
    for lowers in (False, True):
        account = await bank.opened(overdraft_minor=500)
        limits = {"limit_per_transaction_minor": 7, "limit_per_day_minor": 9}
        if lowers:
            limits["overdraft_minor"] = 100

        answers = await asyncio.gather(
            bank.change(account, "freeze", scope="debits"),
            bank.change(account, "limits", **limits),
            bank.change(account, "limits", **limits),
        )

        assert [answer.status_code for answer in answers] == [200] * 3
        held = await bank.in_the_book(account)
        now = (await bank.teller.get(f"/v1/accounts/{account['id']}")).json()
        assert (held["debit_blocked"], held["limit_per_transaction_minor"]) == (True, 7)
        assert held["floor_minor"] == (-100 if lowers else -500)
        assert (now["settled"], now["version"], held["version"]) == (True, 4, 4)


async def test_no_payment_begun_after_a_freezes_answer_goes_through(bank: Bank):
    account = await bank.opened()
    await bank.pay(account, 1_000)
    frozen = asyncio.Event()
    after: list[int] = []

    async def pay_on() -> None:
        for _ in range(30):
            late = frozen.is_set()
            paid = await bank.pay(account, -1)
            if late:
                after.append(paid.status_code)

    async def freeze() -> None:
        await asyncio.sleep(0.05)
        answer = await bank.change(account, "freeze", scope="debits")
        assert answer.status_code == 200
        frozen.set()

    await asyncio.gather(*(pay_on() for _ in range(4)), freeze())

    assert after and set(after) == {409}


async def test_an_account_is_closed_or_takes_money_but_never_both(bank: Bank):
    for _ in range(8):
        account = await bank.opened()

        closed, paid = await asyncio.gather(bank.change(account, "close"), bank.pay(account, 1))

        held = await bank.in_the_book(account)
        now = (await bank.teller.get(f"/v1/accounts/{account['id']}")).json()
        assert sorted([closed.status_code, paid.status_code]) in ([200, 409], [201, 409])
        assert (now["state"] == "closed") == (closed.status_code == 200) == held["closed"]
        assert held["balance_minor"] == (0 if held["closed"] else 1)
        assert now["settled"] and held["version"] == now["version"]


async def test_a_freeze_asked_by_many_holds_before_anyone_is_answered(bank: Bank):
    account = await bank.opened()

    async def freeze() -> tuple[int, int]:
        answer = await bank.change(account, "freeze", scope="all")
        return answer.status_code, (await bank.pay(account, 1)).status_code

    outcomes = await asyncio.gather(*(freeze() for _ in range(6)))

    assert outcomes == [(200, 409)] * 6
