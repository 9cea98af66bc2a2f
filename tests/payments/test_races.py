"""On real PostgreSQL, many at once."""

from asyncio import gather
from collections import Counter

from tests.payments.bank import Account, Bank, Found, ask, teller, transfer
from tests.serving import serving


async def test_one_key_at_once_from_many_has_one_effect_and_equal_answers(bank: Bank):
    asha, ravi = await bank.account(10_000), await bank.account()

    answers = await gather(*(bank.pay(asha, ravi, 100, key="one-and-only") for _ in range(20)))

    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert await bank.balances(asha, ravi) == [9_900, 100]


async def test_one_key_at_once_in_two_instances_has_one_effect(bank: Bank, a_service, signer):
    asha, ravi = await bank.account(10_000), await bank.account()
    key = {"Idempotency-Key": "one-and-only"}
    async with (
        serving(a_service("ledger"), signer),
        serving(a_service("payments"), signer) as second,
        teller(second.service, signer) as other,
    ):
        body = transfer(asha, ravi, 100)
        answers = await gather(
            *(
                client.post("/v1/payments/transfers", json=body, headers=key)
                for _ in range(10)
                for client in (bank.teller, other)
            )
        )

    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert await bank.balances(asha, ravi) == [9_900, 100]


async def test_two_who_pay_each_other_never_wait_in_a_circle(bank: Bank):
    asha, ravi = await bank.account(100), await bank.account(100)
    pairs = [(asha, ravi) if n % 2 else (ravi, asha) for n in range(50)]

    answers = await gather(*(bank.pay(one, other, 30) for one, other in pairs))

    assert {answer.status_code for answer in answers} <= {201, 409}
    paid = Counter(
        answer.json()["remitter_account"] for answer in answers if answer.status_code == 201
    )
    assert paid[asha] and paid[ravi]
    balances = await bank.balances(asha, ravi)
    assert sum(balances) == 200
    assert balances == [100 + 30 * (paid[ravi] - paid[asha]), 100 + 30 * (paid[asha] - paid[ravi])]
    refused = {answer.json()["type"] for answer in answers if answer.status_code == 409}
    assert refused <= {"urn:cbs:insufficient-funds"}
    for account in (asha, ravi):
        history = await ask(bank.service, "ledger.history", {"number": account, "limit": 200}, dict)
        assert min(line["balance_after_minor"] for line in history["postings"]) >= 0


async def test_an_account_is_never_paid_below_its_floor(bank: Bank):
    asha, ravi = await bank.account(1_000, floor_minor=-50), await bank.account()

    answers = await gather(*(bank.pay(asha, ravi, 100) for _ in range(20)))

    assert Counter(answer.status_code for answer in answers) == {201: 10, 409: 10}
    assert await bank.balances(asha, ravi) == [0, 1_000]


async def test_the_limit_of_a_day_is_never_passed(bank: Bank):
    asha, ravi = await bank.account(10_000, limit_per_day_minor=100), await bank.account()

    answers = await gather(*(bank.pay(asha, ravi, 30) for _ in range(20)))

    assert Counter(answer.status_code for answer in answers) == {201: 3, 409: 17}
    assert {answer.json()["type"] for answer in answers if answer.status_code == 409} == {
        "urn:cbs:limit-per-day"
    }
    found = await ask(bank.service, "ledger.accounts", {"numbers": [asha]}, Found)
    assert found.accounts == [Account(number=asha, balance_minor=9_910, debited_minor=90)]
