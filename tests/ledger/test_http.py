from tests.ledger.conftest import OPERATOR
from tests.serving import Served


def transaction(amount_minor: int, **changed):
    return {
        "kind": "capital",
        "currency": "INR",
        "legs": [
            {"account": "INR-CASH", "amount_minor": -amount_minor},
            {"account": "INR-SUSPENSE", "amount_minor": amount_minor},
        ],
        **changed,
    }


async def test_a_transaction_moves_balances_and_can_be_read_back(ledger: Served):
    async with ledger.client("olga", *OPERATOR) as olga:
        posted = await olga.post("/v1/ledger/transactions", json=transaction(500))
        assert posted.status_code == 201, posted.text
        found = posted.json()["transaction"]

        again = await olga.get(f"/v1/ledger/transactions/{found['id']}")
        cash = await olga.get("/v1/ledger/accounts/INR-CASH")
        history = await olga.get("/v1/ledger/accounts/INR-SUSPENSE/postings")

    assert again.json() == found
    assert cash.json()["balance_minor"] == -500
    assert [line["balance_after_minor"] for line in history.json()["items"]] == [500]


async def test_one_key_has_one_effect_and_one_answer(ledger: Served):
    key = {"Idempotency-Key": "one-key-0001"}
    async with ledger.client("olga", *OPERATOR) as olga:
        first = await olga.post("/v1/ledger/transactions", json=transaction(500), headers=key)
        second = await olga.post("/v1/ledger/transactions", json=transaction(500), headers=key)
        other = await olga.post("/v1/ledger/transactions", json=transaction(501), headers=key)
        told = await olga.get("/v1/ledger/requests/one-key-0001")
        cash = await olga.get("/v1/ledger/accounts/INR-CASH")

    assert (second.status_code, second.content) == (first.status_code, first.content)
    assert other.status_code == 409
    assert other.json()["type"] == "urn:cbs:key-reused"
    assert told.status_code == 200, told.text
    assert told.json()["answer"] == first.json()
    assert cash.json()["balance_minor"] == -500
