"""What a teller sees, through the real app, with a real ledger on the same bus."""

from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest

from cbs.accounts.application import book
from cbs.kernel.account_number import is_account_number
from cbs.kernel.calendar import business_date
from cbs.platform.context import now
from tests.accounts.conftest import Bank


async def test_an_account_is_opened_in_the_book_before_it_is_answered(bank: Bank):
    account = await bank.opened(overdraft_minor=700, branch=12)

    assert is_account_number(account["number"])
    assert account["number"].startswith("0012") and account["ifsc"] == "CBSI0000012"
    assert (account["state"], account["settled"], account["version"]) == ("open", True, 1)
    held = await bank.in_the_book(account)
    assert (held["currency"], held["kind"], held["version"]) == ("INR", "customer", 1)
    assert (held["floor_minor"], held["limit_per_day_minor"]) == (-700, 500_000_000)


async def test_an_account_is_found_by_id_number_and_customer_with_its_balance(bank: Bank):
    customer = str(uuid4())
    first, second = [await bank.opened(customer_id=customer) for _ in range(2)]
    await bank.pay(first, 500)

    by_id = await bank.teller.get(f"/v1/accounts/{first['id']}")
    by_number = await bank.teller.get(f"/v1/accounts/by-number/{first['number']}")
    assert by_id.json() == by_number.json() == {**first, "balance_minor": 500}
    seen, cursor = [], ""
    while cursor is not None:
        path = f"/v1/accounts?customer_id={customer}&limit=1&cursor={cursor}"
        page = (await bank.teller.get(path)).json()
        seen += page["items"]
        cursor = page["next_cursor"]
    assert [each["id"] for each in seen] == [first["id"], second["id"]]
    assert [each["balance_minor"] for each in seen] == [500, 0]


@pytest.mark.parametrize(
    ("standing", "code"),
    [
        ({"kyc": "pending"}, "customer-not-verified"),
        ({"kyc": "expired"}, "customer-not-verified"),
        ({"status": "suspended"}, "customer-not-active"),
    ],
)
async def test_only_a_verified_and_active_customer_opens_an_account(bank: Bank, standing, code):
    customer = uuid4()
    bank.customers.known[customer] = standing
    body = {"customer_id": str(customer), "product": "SAVINGS-INR"}
    key = {"Idempotency-Key": "not-yet-verified"}

    refused = await bank.teller.post("/v1/accounts", json=body, headers=key)
    del bank.customers.known[customer]
    again = await bank.teller.post("/v1/accounts", json=body, headers=key)
    listed = await bank.teller.get("/v1/accounts", params={"customer_id": str(customer)})

    assert (refused.status_code, refused.json()["type"]) == (409, f"urn:cbs:{code}")
    assert (again.status_code, again.content) == (409, refused.content)
    assert listed.json()["items"] == []


async def test_an_unknown_customer_opens_nothing(bank: Bank):
    customer = uuid4()
    bank.customers.missing.add(customer)

    body = {"customer_id": str(customer), "product": "SAVINGS-INR"}
    refused = await bank.teller.post("/v1/accounts", json=body)

    assert (refused.status_code, refused.json()["type"]) == (404, "urn:cbs:no-such-customer")


@pytest.mark.parametrize(
    ("wanted", "status", "code"),
    [
        ({"product": "GOLD-INR"}, 404, "no-such-product"),
        ({"product": "SAVINGS-INR", "overdraft_minor": 1}, 409, "overdraft-out-of-range"),
        ({"branch": 0}, 400, "malformed"),
        ({"branch": 10_000}, 400, "malformed"),
        ({"overdraft_minor": -1}, 400, "malformed"),
        ({"colour": "red"}, 400, "malformed"),
    ],
)
async def test_what_cannot_be_opened(bank: Bank, wanted, status, code):
    body = {"customer_id": str(uuid4()), "product": "CURRENT-INR", **wanted}

    refused = await bank.teller.post("/v1/accounts", json=body)

    assert (refused.status_code, refused.json()["type"]) == (status, f"urn:cbs:{code}")


async def test_a_freeze_holds_from_the_moment_it_is_answered(bank: Bank):
    account = await bank.opened()
    await bank.pay(account, 500)

    frozen = await bank.change(account, "freeze", scope="debits")
    out, into = await bank.pay(account, -1), await bank.pay(account, 1)
    unfrozen = await bank.change(account, "unfreeze")
    after = await bank.pay(account, -1)

    assert (frozen.status_code, unfrozen.status_code) == (200, 200)
    assert (frozen.json()["frozen"], unfrozen.json()["frozen"]) == ("debits", None)
    assert (out.status_code, out.json()["type"]) == (409, "urn:cbs:account-blocked")
    assert (into.status_code, after.status_code) == (201, 201)


async def test_a_freeze_weakens_no_other_and_each_is_lifted_by_itself(bank: Bank):
    account = await bank.opened()
    await bank.pay(account, 500)
    until = str(business_date(now()) + timedelta(days=30))

    court = await bank.change(
        account, "freeze", scope="all", authority="High Court of Bombay", until=until
    )
    branch = await bank.change(account, "freeze", scope="debits", reason="card lost")
    into_both = await bank.pay(account, 1)
    of_court, of_branch = branch.json()["freezes"]
    some = await bank.change(account, "unfreeze")
    weaker = await bank.change(account, "unfreeze", freeze_id=of_court["id"])
    into, out = await bank.pay(account, 1), await bank.pay(account, -1)
    none = await bank.change(account, "unfreeze")

    assert court.json()["freezes"] == [of_court]
    assert of_court == {
        "id": of_court["id"],
        "scope": "all",
        "cause": "order",
        "reason": "court order 7/2026",
        "authority": "High Court of Bombay",
        "until": until,
        "placed_by": "tara",
        "placed_at": of_court["placed_at"],
    }
    assert (branch.json()["frozen"], of_branch["reason"]) == ("all", "card lost")
    assert into_both.json()["type"] == "urn:cbs:account-blocked"
    assert some.json()["type"] == "urn:cbs:several-freezes"
    assert (weaker.json()["frozen"], weaker.json()["freezes"]) == ("debits", [of_branch])
    assert (into.status_code, out.status_code) == (201, 409)
    assert (none.json()["frozen"], none.json()["freezes"]) == (None, [])


async def test_a_freeze_ends_the_day_after_its_last(bank: Bank):
    account = await bank.opened()
    today = business_date(now())
    await bank.change(account, "freeze", scope="all", until=str(today))
    lapses = bank.accounts.service.spec.tasks["lapses"].__self__  # type: ignore[attr-defined]
    later = replace(
        lapses, accounts=replace(lapses.accounts, now=lambda: now() + timedelta(days=1))
    )

    assert await lapses.look() == 0
    assert await later.look() == 1
    assert await later.look() == 0
    found = (await bank.teller.get(f"/v1/accounts/{account['id']}")).json()
    assert (found["frozen"], found["freezes"]) == (None, [])
    assert (await bank.pay(account, 1)).status_code == 201


async def test_limits_bind_from_the_moment_they_are_answered(bank: Bank):
    account = await bank.opened()
    await bank.pay(account, 500)

    changed = await bank.change(
        account, "limits", limit_per_transaction_minor=10, limit_per_day_minor=None
    )
    refused, paid = await bank.pay(account, -11), await bank.pay(account, -10)

    assert changed.json()["limit_per_transaction_minor"] == 10
    assert changed.json()["limit_per_day_minor"] is None
    assert refused.json()["type"] == "urn:cbs:limit-per-transaction"
    assert paid.status_code == 201


async def test_an_overdraft_is_not_lowered_below_what_is_drawn(bank: Bank):
    account = await bank.opened(overdraft_minor=500)
    await bank.pay(account, -300)
    limits = {"limit_per_transaction_minor": 7, "limit_per_day_minor": 7}

    refused = await bank.change(account, "limits", **limits, overdraft_minor=200)
    now = (await bank.teller.get(f"/v1/accounts/{account['id']}")).json()
    lowered = await bank.change(account, "limits", **limits, overdraft_minor=300)

    assert (refused.status_code, refused.json()["type"]) == (409, "urn:cbs:floor-above-balance")
    assert (now["overdraft_minor"], now["settled"]) == (500, True)
    assert now["limit_per_day_minor"] == account["limit_per_day_minor"]
    assert (lowered.status_code, lowered.json()["overdraft_minor"]) == (200, 300)
    held = await bank.in_the_book(account)
    assert (held["floor_minor"], held["version"]) == (-300, lowered.json()["version"])


async def test_an_account_with_money_is_not_closed_and_remains_usable(bank: Bank):
    account = await bank.opened()
    await bank.pay(account, 500)

    refused = await bank.change(account, "close")
    used = await bank.pay(account, -500)
    closed = await bank.change(account, "close")
    late = await bank.pay(account, 1)
    frozen = await bank.change(account, "freeze", scope="all")

    assert (refused.status_code, refused.json()["type"]) == (409, "urn:cbs:account-not-empty")
    assert used.status_code == 201
    assert (closed.status_code, closed.json()["state"]) == (200, "closed")
    assert late.json()["type"] == "urn:cbs:account-closed"
    assert (frozen.status_code, frozen.json()["type"]) == (409, "urn:cbs:account-not-open")


async def test_a_frozen_account_is_not_closed(bank: Bank):
    account = await bank.opened()
    await bank.change(account, "freeze", scope="debits")

    refused = await bank.change(account, "close")
    thawed = await bank.change(account, "unfreeze")
    twice = await bank.change(account, "unfreeze")

    assert refused.json()["type"] == "urn:cbs:account-frozen"
    assert (thawed.status_code, twice.json()["type"]) == (200, "urn:cbs:not-frozen")


async def test_a_statement_pages_through_a_period(bank: Bank):
    account = await bank.opened()
    for amount in (1, 2, 3, 4):
        await bank.pay(account, amount)
    path = f"/v1/accounts/{account['id']}/statement"

    async def pages(**params):
        seen, cursor = [], ""
        while cursor is not None:
            found = await bank.teller.get(path, params={"limit": 3, "cursor": cursor, **params})
            assert found.status_code == 200, found.text
            seen.append([line["balance_after_minor"] for line in found.json()["items"]])
            cursor = found.json()["next_cursor"]
        return seen

    today = (await bank.teller.get(path)).json()["items"][0]["booked_on"]
    assert await pages() == [[10, 6, 3], [1]]
    assert await pages(**{"from": today, "to": today, "by": "value"}) == [[10, 6, 3], [1]]
    assert await pages(to="2001-01-01") == [[]]
    assert await pages(**{"from": "2999-01-01"}) == [[]]


async def test_every_page_of_a_statement_but_the_last_holds_something(bank: Bank, monkeypatch):
    """However many of the ledger's pages lie between it and today."""
    monkeypatch.setattr(book, "HISTORY_PAGE_MAX", 2)
    monkeypatch.setattr(book, "SCANNED_PAGES_MAX", 1)
    account = await bank.opened()
    earlier = str(business_date(now()) - timedelta(days=7))
    for amount in (1, 2, 3):
        await bank.pay(account, amount, value_on=earlier)
    for amount in range(1, 12):
        await bank.pay(account, amount)
    path = f"/v1/accounts/{account['id']}/statement"

    pages, cursor = [], ""
    while cursor is not None:
        query: dict[str, str | int] = {"to": earlier, "by": "value", "limit": 2, "cursor": cursor}
        found = (await bank.teller.get(path, params=query)).json()
        pages.append([line["amount_minor"] for line in found["items"]])
        cursor = found["next_cursor"]

    assert pages == [[3, 2], [1]]


async def test_products_are_data(bank: Bank):
    korun = {
        "code": "CURRENT-CZK",
        "name": "Běžný účet",
        "kind": "current",
        "currency": "CZK",
        "overdraft_max_minor": 5_000_00,
    }
    added = await bank.teller.post("/v1/accounts/products", json=korun)
    twice = await bank.teller.post("/v1/accounts/products", json=korun)
    seen = (await bank.teller.get("/v1/accounts/products")).json()["items"]
    account = await bank.opened(product="CURRENT-CZK", overdraft_minor=5_000_00)

    assert added.status_code == 201, added.text
    assert (twice.status_code, twice.json()["type"]) == (409, "urn:cbs:product-known")
    assert [each["code"] for each in seen] == ["CURRENT-CZK", "CURRENT-INR", "SAVINGS-INR"]
    assert (await bank.in_the_book(account))["currency"] == "CZK"


async def test_each_change_is_a_fact_that_names_who_asked(bank: Bank):
    account = await bank.opened()
    await bank.change(account, "freeze", scope="all")
    await bank.change(account, "unfreeze")
    await bank.change(account, "limits", limit_per_transaction_minor=1, limit_per_day_minor=2)
    await bank.change(account, "close")

    outbox = bank.accounts.service.runtime.outbox
    told = [(subject, body.decode()) for _, subject, body in await outbox.after(0, limit=99)]
    said = [each for each in told if not each[0].endswith(".request-answered")]

    assert [subject.rpartition(".")[2] for subject, _ in said] == [
        "account-opened",
        "account-frozen",
        "account-unfrozen",
        "limits-changed",
        "account-closed",
    ]
    assert all('"actor":"tara"' in body and account["id"] in body for _, body in said)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", f"/v1/accounts/{uuid4()}", None),
        ("GET", f"/v1/accounts/{uuid4()}/statement", None),
        ("GET", "/v1/accounts/by-number/00010000000013", None),
        ("POST", f"/v1/accounts/{uuid4()}/freeze", {"scope": "all", "reason": "x"}),
        ("POST", f"/v1/accounts/{uuid4()}/close", {"reason": "x"}),
        (
            "POST",
            f"/v1/accounts/{uuid4()}/limits",
            {"limit_per_transaction_minor": None, "limit_per_day_minor": None},
        ),
    ],
)
async def test_nobody_knows_an_unknown_account(bank: Bank, method, path, body):
    found = await bank.teller.request(method, path, json=body)

    assert (found.status_code, found.json()["type"]) == (404, "urn:cbs:no-such-account")


@pytest.mark.parametrize(
    "number",
    ["nonsense%00", "0001000000001", "000100000000130", "0001000000001%0A", "00010000000013%0A"],
)
async def test_what_no_account_number_looks_like_is_malformed(bank: Bank, number):
    found = await bank.teller.get(f"/v1/accounts/by-number/{number}")

    assert (found.status_code, found.json()["type"]) == (400, "urn:cbs:malformed")


@pytest.mark.parametrize(
    ("permission", "method", "path"),
    [
        ("accounts.write", "GET", f"/v1/accounts/{uuid4()}"),
        ("accounts.read", "POST", "/v1/accounts"),
        ("accounts.write", "POST", f"/v1/accounts/{uuid4()}/freeze"),
        ("accounts.write", "POST", f"/v1/accounts/{uuid4()}/unfreeze"),
        ("accounts.freeze", "POST", f"/v1/accounts/{uuid4()}/close"),
        ("accounts.freeze", "POST", f"/v1/accounts/{uuid4()}/limits"),
        ("accounts.write", "POST", "/v1/accounts/products"),
    ],
)
async def test_each_act_needs_a_permission_of_its_own(bank: Bank, permission, method, path):
    async with bank.accounts.client("mallory", permission) as mallory:
        refused = await mallory.request(method, path, json={})

    assert (refused.status_code, refused.json()["type"]) == (403, "urn:cbs:not-permitted")
