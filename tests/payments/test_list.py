"""The list is what the ledger posted, as soon as it has been heard."""

import msgspec

from cbs.platform.context import Context, within
from cbs.platform.database import Database
from tests.payments.bank import Bank, teller
from tests.serving import serving

POSTED = """
    SELECT t.id::text, t.kind, d.account AS remitter, c.account AS beneficiary, c.amount_minor
    FROM transaction t
    JOIN posting d ON d.transaction_id = t.id AND d.amount_minor < 0
    JOIN posting c ON c.transaction_id = t.id AND c.amount_minor > 0
    WHERE t.kind = ANY($1::text[])"""
KINDS = ["transfer", "cash-deposit", "cash-withdrawal"]
LISTED = ("id", "kind", "remitter_account", "beneficiary_account", "amount_minor")


class Id(msgspec.Struct):
    id: str


class Posted(msgspec.Struct):
    transaction: Id


async def charge_fee(bank: Bank, account: str) -> str:
    """A transaction that is no payment; its id."""
    wanted = {
        "kind": "fees",
        "currency": "INR",
        "legs": [
            {"account": account, "amount_minor": -7},
            {"account": "INR-FEES", "amount_minor": 7},
        ],
    }
    bus, tokens = bank.service.runtime.bus, bank.service.runtime.tokens
    token = bank.payments.signer.token("fay", "ledger.post")
    with within(Context(principal=tokens.principal(token), token=token)):
        posted = await bus.call("ledger.post", wanted, Posted, key=f"fee-of-{account}")
    return posted.transaction.id


async def test_the_list_is_what_the_ledger_posted(bank: Bank, place):
    asha, ravi = await bank.account(1_000), await bank.account(1_000)
    for n in range(1, 21):
        await bank.pay(*((asha, ravi) if n % 2 else (ravi, asha)), n)
    await charge_fee(bank, asha)
    last = (await bank.pay(asha, ravi, 99)).json()

    items = await bank.listed(23)

    assert items[0] == last
    ledger = Database(place["ledger"].verify_url)
    await ledger.open()
    posted = {tuple(row) for row in await ledger.fetch(POSTED, KINDS)}
    await ledger.close()
    assert {tuple(item[name] for name in LISTED) for item in items} == posted
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
        path = f"/v1/payments/transfers?account={asha}&limit=2&cursor={cursor}"
        page = (await bank.teller.get(path)).json()
        pages.append([item["id"] for item in page["items"]])
        cursor = page.get("next_cursor")

    # The fourth of hers is the deposit.
    assert pages[0] == [made[3], made[2]]
    assert pages[1][0] == made[0]
    assert [len(page) for page in pages] == [2, 2, 0]


async def test_a_payment_is_found_at_once_and_shown_alike_when_it_is_listed(bank: Bank):
    asha, ravi = await bank.account(1_000), await bank.account()
    made = (await bank.pay(asha, ravi, 5)).json()

    at_once = await bank.teller.get(f"/v1/payments/transfers/{made['id']}")
    listed = (await bank.listed(2))[0]
    later = await bank.teller.get(f"/v1/payments/transfers/{made['id']}")

    assert at_once.json() == listed == later.json() == made


async def test_what_is_listed_is_shown_without_the_ledger(a_service, signer):
    async with (
        serving(a_service("payments"), signer) as payments,
        teller(payments.service, signer) as tilda,
    ):
        bank = Bank(payments, tilda)
        async with serving(a_service("ledger"), signer):
            asha, ravi = await bank.account(1_000), await bank.account()
            made = (await bank.pay(asha, ravi, 5)).json()
            await bank.listed(2)

        found = await tilda.get(f"/v1/payments/transfers/{made['id']}")

    assert found.json() == made


async def test_what_is_not_listed_yet_is_asked_of_the_ledger(bank: Bank, place):
    asha, ravi = await bank.account(1_000), await bank.account()
    made = (await bank.pay(asha, ravi, 5)).json()
    await bank.listed(2)
    owner = Database(place["payments"].admin_url)
    await owner.open()
    await owner.execute("TRUNCATE transfer")
    await owner.close()

    found = await bank.teller.get(f"/v1/payments/transfers/{made['id']}")

    assert found.json() == made


async def test_another_kind_of_transaction_is_no_payment(bank: Bank):
    id = await charge_fee(bank, await bank.account(1_000))

    answer = await bank.teller.get(f"/v1/payments/transfers/{id}")

    assert answer.json()["type"] == "urn:cbs:no-such-transfer"
