import json
from uuid import UUID, uuid4

import pytest

from cbs.kernel.account_number import account_number
from cbs.platform.context import new_id
from tests.payments.bank import Bank, cash, transfer

STRANGER = account_number(branch=9, serial=9)


async def test_a_transfer_moves_money_and_shows_no_balance(bank: Bank):
    asha, ravi = await bank.account(10_000), await bank.account()

    answer = await bank.teller.post(
        "/v1/payments/transfers", json=transfer(asha, ravi, 2_500, narrative="Rent, November")
    )

    assert answer.status_code == 201, answer.text
    shown = answer.json()
    assert UUID(shown.pop("id")).version == 7
    assert shown.pop("booked_on") == shown.pop("value_on")
    assert shown.pop("booked_at").endswith("Z")
    assert shown == {
        "kind": "transfer",
        "remitter_account": asha,
        "beneficiary_account": ravi,
        "amount_minor": 2_500,
        "currency": "INR",
        "narrative": "Rent, November",
    }
    assert await bank.balances(asha, ravi) == [7_500, 2_500]


async def test_an_amount_that_is_there_twice_moves_nothing(bank: Bank):
    asha, ravi = await bank.account(10_000), await bank.account()
    twice = json.dumps(transfer(asha, ravi, 2_500))[:-1] + ', "amount_minor": 7000}'
    as_json = {"Content-Type": "application/json"}

    answer = await bank.teller.post("/v1/payments/transfers", content=twice, headers=as_json)

    assert (answer.status_code, answer.json()["type"]) == (400, "urn:cbs:malformed")
    assert "amount_minor" in answer.json()["detail"]
    assert await bank.balances(asha, ravi) == [10_000, 0]


async def test_cash_goes_through_the_till(bank: Bank):
    asha = await bank.account()

    paid_in = await bank.teller.post("/v1/payments/deposits", json=cash(asha, 900))
    paid_out = await bank.teller.post("/v1/payments/withdrawals", json=cash(asha, 200))

    till = "INR-CASH"
    sides = [
        (each["kind"], each["remitter_account"], each["beneficiary_account"])
        for each in (paid_in.json(), paid_out.json())
    ]
    assert sides == [("cash-deposit", till, asha), ("cash-withdrawal", asha, till)]
    assert await bank.balances(asha, till) == [700, -700]


@pytest.mark.parametrize("way", ["deposits", "withdrawals"])
async def test_cash_that_no_till_has_is_of_another_currency_than_the_account(bank: Bank, way):
    asha = await bank.account()

    answer = await bank.teller.post(f"/v1/payments/{way}", json=cash(asha, 9) | {"currency": "EUR"})

    assert (answer.status_code, answer.json()["type"]) == (409, "urn:cbs:currency-mismatch")
    assert "EUR-CASH" not in answer.text


async def test_a_narrative_is_kept_in_one_form_and_can_be_read(bank: Bank):
    asha = await bank.account()

    async def paid(narrative: str):
        body = cash(asha, 900) | {"narrative": narrative}
        return await bank.teller.post("/v1/payments/deposits", json=body)

    assert (await paid("cafe\u0301")).json()["narrative"] == "caf\u00e9"
    for unreadable in ("\u202etner", "a\u2028b", "a\u0085b", "\u3164", " "):
        answer = await paid(unreadable)
        assert (answer.status_code, answer.json()["type"]) == (400, "urn:cbs:malformed"), (
            answer.text
        )


async def test_one_key_has_one_effect_and_one_answer_byte_for_byte(bank: Bank):
    asha, ravi = await bank.account(1_000), await bank.account()

    first = await bank.pay(asha, ravi, 400, key="rent-2026-11")
    again = await bank.pay(asha, ravi, 400, key="rent-2026-11")

    assert first.status_code == again.status_code == 201
    assert again.content == first.content
    assert await bank.balances(asha, ravi) == [600, 400]


@pytest.mark.parametrize(
    "change",
    [
        {"amount_minor": 401},
        {"narrative": "another"},
        {"currency": "EUR"},
        {"remitter_account": STRANGER},
        {"beneficiary_account": STRANGER},
    ],
)
async def test_another_body_under_the_key_is_refused(bank: Bank, change):
    asha, ravi = await bank.account(1_000), await bank.account()
    await bank.pay(asha, ravi, 400, key="rent-2026-11")

    other = await bank.teller.post(
        "/v1/payments/transfers",
        json=transfer(asha, ravi, 400) | change,
        headers={"Idempotency-Key": "rent-2026-11"},
    )

    assert (other.status_code, other.json()["type"]) == (409, "urn:cbs:key-reused")
    assert await bank.balances(asha, ravi) == [600, 400]


async def test_a_deposit_and_a_withdrawal_are_not_one_request(bank: Bank):
    asha, key = await bank.account(1_000), {"Idempotency-Key": "cash-2026-11"}
    await bank.teller.post("/v1/payments/deposits", json=cash(asha, 5), headers=key)

    other = await bank.teller.post("/v1/payments/withdrawals", json=cash(asha, 5), headers=key)

    assert (other.status_code, other.json()["type"]) == (409, "urn:cbs:key-reused")


async def test_long_keys_that_begin_alike_are_different_keys(bank: Bank):
    asha, ravi = await bank.account(1_000), await bank.account()

    answers = [await bank.pay(asha, ravi, 100, key="k" * 63 + end) for end in "ab"]

    assert [answer.status_code for answer in answers] == [201, 201]
    assert await bank.balances(asha, ravi) == [800, 200]


async def test_a_key_belongs_to_who_made_it(bank: Bank):
    asha, ravi = await bank.account(1_000), await bank.account()
    await bank.pay(asha, ravi, 100, key="shared-key")

    async with bank.payments.client("ulla", "payments.transfer") as ulla:
        key = {"Idempotency-Key": "shared-key"}
        body = transfer(asha, ravi, 100)
        hers = await ulla.post("/v1/payments/transfers", json=body, headers=key)
        told = await ulla.get("/v1/payments/requests/shared-key")

    assert hers.status_code == 201
    assert told.json()["answer"] == hers.json()
    assert await bank.balances(ravi) == [200]


async def test_what_became_of_a_request_is_told_in_this_services_words(bank: Bank):
    asha, ravi = await bank.account(1_000), await bank.account()
    done = await bank.pay(asha, ravi, 400, key="first-payment")
    refused = await bank.pay(asha, ravi, 700, key="second-payment")

    told = [
        (await bank.teller.get(f"/v1/payments/requests/{key}")).json()
        for key in ("first-payment", "second-payment")
    ]
    unknown = await bank.teller.get("/v1/payments/requests/third-payment")

    assert [each["key"] for each in told] == ["first-payment", "second-payment"]
    assert [each["state"] for each in told] == ["answered", "answered"]
    assert [each["status"] for each in told] == [201, 409]
    assert [each["answer"] for each in told] == [done.json(), refused.json()]
    assert (unknown.status_code, unknown.json()["type"]) == (404, "urn:cbs:no-such-request")


async def test_a_key_that_the_ledger_does_not_know_may_be_this_services_own(bank: Bank):
    key = {"Idempotency-Key": "replay-key-1"}
    async with bank.payments.client("olga", "operations.replay") as olga:
        path = "/v1/payments/dead-letters/ledger/1/replay"
        replayed = await olga.post(path, headers=key)
        told = await olga.get("/v1/payments/requests/replay-key-1")

    assert replayed.json()["type"] == "urn:cbs:no-such-dead-letter"
    assert told.json()["answer"] == replayed.json()


async def test_what_is_paid_and_what_is_taken_out_share_the_limit_of_a_day(bank: Bank):
    asha, ravi = await bank.account(1_000, limit_per_day_minor=100), await bank.account()

    async def take_out(amount_minor: int):
        return await bank.teller.post("/v1/payments/withdrawals", json=cash(asha, amount_minor))

    answers = [
        await bank.pay(asha, ravi, 60),
        await take_out(41),
        await take_out(40),
        await bank.pay(asha, ravi, 1),
    ]

    assert [answer.status_code for answer in answers] == [201, 409, 201, 409]
    refused = [answer.json()["type"] for answer in (answers[1], answers[3])]
    assert refused == ["urn:cbs:limit-per-day"] * 2
    assert await bank.balances(asha, ravi) == [900, 60]


async def test_a_refusal_of_the_ledger_is_kept_and_given_again_as_a_problem(bank: Bank):
    asha, ravi = await bank.account(10), await bank.account()

    first = await bank.pay(asha, ravi, 11, key="too-much-0001")
    again = await bank.pay(asha, ravi, 11, key="too-much-0001")

    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert first.json()["type"] == "urn:cbs:insufficient-funds"
    assert first.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"remitter_account": STRANGER[:-1] + str((int(STRANGER[-1]) + 1) % 10)}, 400, "malformed"),
        ({"remitter_account": "INR-CASH"}, 400, "malformed"),
        ({"beneficiary_account": STRANGER + "\n"}, 400, "malformed"),
        ({"amount_minor": 0}, 400, "malformed"),
        ({"amount_minor": -5}, 400, "malformed"),
        ({"amount_minor": 10**15 + 1}, 400, "malformed"),
        ({"amount_minor": 1.5}, 400, "malformed"),
        ({"currency": "XXX"}, 400, "malformed"),
        ({"narrative": "a\x00b"}, 400, "malformed"),
        ({"narrative": "x" * 141}, 400, "malformed"),
        ({"unknown": 1}, 400, "malformed"),
        ({"beneficiary_account": account_number(branch=1, serial=1)}, 409, "accounts-not-distinct"),
    ],
)
async def test_what_is_not_a_payment_does_not_reach_the_ledger(bank: Bank, change, status, code):
    asha = await bank.account(1_000)
    assert asha == account_number(branch=1, serial=1)

    answer = await bank.teller.post(
        "/v1/payments/transfers",
        json=transfer(asha, STRANGER, 1) | change,
        headers={"Idempotency-Key": "a-key-to-use-again"},
    )
    right = await bank.pay(asha, await bank.account(), 1, key="a-key-to-use-again")

    assert (answer.status_code, answer.json()["type"]) == (status, f"urn:cbs:{code}")
    assert right.status_code == 201


async def test_without_the_permission_nothing_happens_and_it_is_a_fact(bank: Bank):
    asha, ravi = await bank.account(1_000), await bank.account()

    async with bank.payments.client("rita", "payments.read") as rita:
        paid = await rita.post("/v1/payments/transfers", json=transfer(asha, ravi, 1))
        taken = await rita.post("/v1/payments/withdrawals", json=cash(asha, 1))
        given = await rita.post("/v1/payments/deposits", json=cash(asha, 1))
    async with bank.payments.client("theo", "payments.transfer") as theo:
        read = await theo.get("/v1/payments/transfers")

    answers = (paid, taken, given, read)
    assert [answer.status_code for answer in answers] == [403] * 4
    assert await bank.balances(asha, ravi) == [1_000, 0]
    rows = await bank.service.runtime.outbox.after(0, limit=10)
    assert {subject for _, subject, _ in rows} == {"cbs.payments.events.permission-refused"}
    assert len(rows) == 4


async def test_an_unknown_payment_is_not_found(bank: Bank):
    for id in (uuid4(), new_id()):
        answer = await bank.teller.get(f"/v1/payments/transfers/{id}")
        assert (answer.status_code, answer.json()["type"]) == (404, "urn:cbs:no-such-transfer")
