"""The list is what the ledger posted, as soon as it has been heard."""

from cbs.platform.database import Database
from tests.payments.bank import Account, Bank, ask, eventually

POSTED = """
    SELECT t.id::text, t.kind, d.account AS remitter, c.account AS beneficiary, c.amount_minor
    FROM transaction t
    JOIN posting d ON d.transaction_id = t.id AND d.amount_minor < 0
    JOIN posting c ON c.transaction_id = t.id AND c.amount_minor > 0
    WHERE t.kind = ANY($1::text[])"""


async def test_the_list_is_what_the_ledger_posted(bank: Bank, place):
    asha, ravi = await bank.account(1_000), await bank.account(1_000)
    for n in range(1, 21):
        await bank.pay(*((asha, ravi) if n % 2 else (ravi, asha)), n)
    other = {
        "kind": "fees",
        "currency": "INR",
        "legs": [
            {"account": asha, "amount_minor": -7},
            {"account": "INR-FEES", "amount_minor": 7},
        ],
    }
    async with bank.payments.client("fay", "ledger.post") as fay:
        token = fay.headers["Authorization"].removeprefix("Bearer ")
    await _post(bank, token, other)
    last = (await bank.pay(asha, ravi, 99)).json()

    items = await bank.listed(23)

    assert items[0] == last
    ledger = Database(place["ledger"].verify_url)
    await ledger.open()
    kinds = ["transfer", "cash-deposit", "cash-withdrawal"]
    posted = {tuple(row) for row in await ledger.fetch(POSTED, kinds)}
    await ledger.close()
    fields = ("id", "kind", "remitter_account", "beneficiary_account", "amount_minor")
    assert {tuple(item[name] for name in fields) for item in items} == posted
    assert len(items) == len(posted) == 23


async def test_the_list_of_an_account_pages_newest_first(bank: Bank):
    asha, ravi, zoe = [await bank.account(1_000) for _ in range(3)]
    made = [
        (await bank.pay(*sides, 1)).json()["id"]
        for sides in [(asha, ravi), (ravi, zoe), (zoe, asha), (ravi, asha), (zoe, ravi)]
    ]
    await bank.listed(3 + len(made))

    pages, cursor = [], ""
    while cursor is not None:
        query = {"account": asha, "limit": 2, "cursor": cursor}
        page = (await bank.teller.get("/v1/payments/transfers", params=query)).json()
        pages.append([item["id"] for item in page["items"]])
        cursor = page.get("next_cursor")

    assert pages[0] == [made[3], made[2]]
    assert pages[1][0] == made[0]
    assert [len(page) for page in pages] == [2, 2, 0]


async def test_a_payment_is_found_before_and_after_it_is_listed(bank: Bank, a_service, signer):
    asha, ravi = await bank.account(1_000), await bank.account()
    made = (await bank.pay(asha, ravi, 5)).json()
    path = f"/v1/payments/transfers/{made['id']}"

    first = await bank.teller.get(path)
    await bank.listed(2)
    later = await bank.teller.get(path)

    assert first.json() == later.json() == made


async def test_what_is_not_yet_listed_is_asked_of_the_ledger(bank: Bank, monkeypatch):
    asha, ravi = await bank.account(1_000), await bank.account()
    made = (await bank.pay(asha, ravi, 5)).json()
    await bank.listed(2)
    assert (await bank.teller.get(f"/v1/payments/transfers/{made['id']}")).json() == made


async def test_another_kind_of_transaction_is_no_payment(bank: Bank):
    asha = await bank.account(1_000)
    async with bank.payments.client("fay", "ledger.post") as fay:
        token = fay.headers["Authorization"].removeprefix("Bearer ")
    legs = [
        {"account": asha, "amount_minor": -7},
        {"account": "INR-FEES", "amount_minor": 7},
    ]
    posted = await _post(bank, token, {"kind": "fees", "currency": "INR", "legs": legs})

    answer = await bank.teller.get(f"/v1/payments/transfers/{posted}")

    assert answer.json()["type"] == "urn:cbs:no-such-transfer"
