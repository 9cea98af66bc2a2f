"""Every operation in every state of customer and account, against the real services."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any
from uuid import uuid4

import httpx
import pytest

from cbs.customers.domain.standing import ALLOWED, Act, CustomerStatus
from tests.accounts.conftest import TELLER
from tests.accounts.life_cycle import OK, OPERATIONS, ROWS
from tests.serving import serving

CLERK = ("customers.read", "customers.write", "customers.verify")
SERIALS = count(1)
REASON = {"reason": "as the table says"}
LIMITS = {"limit_per_transaction_minor": 5, "limit_per_day_minor": 5}
# As the domain's own table names them.
ACTS = {
    Act.AMEND: "amend",
    Act.PRESENT_DOCUMENT: "present document",
    Act.VERIFY: "verify document",
    Act.REJECT: "reject document",
    Act.RATE: "rate risk",
    Act.SUSPEND: "suspend",
    Act.REINSTATE: "reinstate",
    Act.CLOSE: "close customer",
}


@dataclass
class Bank:
    clerk: httpx.AsyncClient
    teller: httpx.AsyncClient
    poster: httpx.AsyncClient

    async def brought(self, customer: str, account: str) -> dict[str, Any]:
        """A customer with one account in these states, and a paper that is not decided yet."""
        made = await _must(self.clerk.post("/v1/customers", json=_person()))
        person = f"/v1/customers/{made['id']}"
        verified, undecided = made["documents"]
        await _must(self.clerk.post(f"{person}/documents/{verified['id']}/verify"))
        wanted = {"customer_id": made["id"], "product": "SAVINGS-INR"}
        opened = await _must(self.teller.post("/v1/accounts", json=wanted))
        acts = f"/v1/accounts/{opened['id']}"
        if account.endswith("frozen"):
            scope = account.removesuffix(" frozen")
            await _must(self.teller.post(f"{acts}/freeze", json=REASON | {"scope": scope}))
        if account == "closed":
            await _must(self.teller.post(f"{acts}/close", json=REASON))
        for verb in {"active": (), "suspended": ("suspend",)}.get(customer, ("suspend", "close")):
            await _must(self.clerk.post(f"{person}/{verb}", json=REASON))
        return {
            "person": person,
            "customer_id": made["id"],
            "paper": f"{person}/documents/{undecided['id']}",
            "number": opened["number"],
            "acts": acts,
        }

    async def said(self, operation: str, at: Mapping[str, Any]) -> str:
        person, acts = at["person"], at["acts"]
        clerk, teller = self.clerk, self.teller
        match operation:
            case "amend":
                answer = await clerk.patch(person, json={"email": "asha@example.in"})
            case "present document":
                answer = await clerk.post(f"{person}/documents", json=_passport())
            case "verify document":
                answer = await clerk.post(f"{at['paper']}/verify")
            case "reject document":
                answer = await clerk.post(f"{at['paper']}/reject", json=REASON)
            case "rate risk":
                answer = await clerk.put(f"{person}/risk", json=REASON | {"risk": "high"})
            case "suspend" | "reinstate":
                answer = await clerk.post(f"{person}/{operation}", json=REASON)
            case "close customer":
                answer = await clerk.post(f"{person}/close", json=REASON)
            case "open account":
                wanted = {"customer_id": at["customer_id"], "product": "SAVINGS-INR"}
                answer = await teller.post("/v1/accounts", json=wanted)
            case "pay in" | "pay out":
                answer = await self.poster.post(
                    "/v1/ledger/transactions",
                    json=_payment(at["number"], 1 if operation == "pay in" else -1),
                )
            case "freeze":
                answer = await teller.post(f"{acts}/freeze", json=REASON | {"scope": "debits"})
            case "unfreeze":
                answer = await teller.post(f"{acts}/unfreeze", json=REASON)
            case "change limits":
                answer = await teller.post(f"{acts}/limits", json=LIMITS)
            case "close account":
                answer = await teller.post(f"{acts}/close", json=REASON)
        return _said(answer)


@pytest.fixture
async def bank(services, signer) -> AsyncIterator[Bank]:
    customers, ledger, accounts = services
    async with (
        serving(customers, signer) as of_customers,
        serving(ledger, signer) as of_ledger,
        serving(accounts, signer) as of_accounts,
        of_customers.client("chitra", *CLERK) as clerk,
        of_accounts.client("tara", *TELLER) as teller,
        of_ledger.client("paul", "ledger.post", "payments.transfer") as poster,
    ):
        yield Bank(clerk, teller, poster)


@pytest.mark.parametrize(("customer", "account"), ROWS)
async def test_each_state_means_what_the_table_says(bank: Bank, customer: str, account: str):
    said = {
        operation: await bank.said(operation, await bank.brought(customer, account))
        for operation in OPERATIONS
    }

    assert said == dict(zip(OPERATIONS, ROWS[customer, account], strict=True))


async def test_who_is_reinstated_pays_out_again_and_other_freezes_stay(bank: Bank):
    at = await bank.brought("active", "open")
    assert await bank.said("pay in", at) == OK
    assert await bank.said("suspend", at) == OK
    suspended = await bank.said("pay out", at)
    assert await bank.said("freeze", at) == OK
    assert await bank.said("reinstate", at) == OK
    frozen = await bank.said("pay out", at)
    assert await bank.said("unfreeze", at) == OK

    assert (suspended, frozen) == ("account-blocked", "account-blocked")
    assert await bank.said("pay out", at) == OK


def test_the_domains_table_of_customers_is_this_one():
    for act, operation in ACTS.items():
        place = OPERATIONS.index(operation)
        allowed = {
            CustomerStatus(customer)
            for (customer, _), row in ROWS.items()
            if row[place] in (OK, "customer-has-accounts")
        }
        assert allowed == ALLOWED[act], act
    assert {*ACTS, Act.FIND_DISTINCT} == {*Act}, "tests/customers has who is held"


async def _must(asked: Any) -> dict[str, Any]:
    answer = await asked
    assert answer.is_success, answer.text
    return dict(answer.json())


def _said(answer: httpx.Response) -> str:
    return OK if answer.is_success else str(answer.json()["type"]).removeprefix("urn:cbs:")


def _person() -> dict[str, Any]:
    return {
        "given_name": "Asha",
        "date_of_birth": "1990-04-01",
        "mobile": f"+9198765{next(SERIALS):05}",
        "address": {
            "lines": ["12 MG Road"],
            "city": "Pune",
            "state": "Maharashtra",
            "postal_code": "411001",
        },
        "documents": [_passport(), _passport()],
    }


def _passport() -> dict[str, str]:
    number = f"M{uuid4().int % 10**12}"
    return {"type": "passport", "number": number, "expires_on": "2999-12-31"}


def _payment(number: str, amount_minor: int) -> dict[str, Any]:
    legs = [
        {"account": "INR-CASH", "amount_minor": -amount_minor},
        {"account": number, "amount_minor": amount_minor},
    ]
    return {"kind": "transfer", "currency": "INR", "legs": legs}
