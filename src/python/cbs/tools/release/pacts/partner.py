"""What a partner's client reads that was written after the README's first transfer."""

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlencode

import httpx
import msgspec
from pact import match

from cbs.kernel.account_number import account_number
from cbs.tools.release.pacts.conversation import (
    PROBLEM,
    SOME_ID,
    Conversation,
    State,
    instant,
    some_id,
    some_of,
)
from cbs.tools.release.pacts.person import person

AMOUNT_MINOR, BALANCE_MINOR = 125_050, 500_000
PERSON = person("ACUPA7085R")
NUMBERS = tuple(account_number(branch=44, serial=n) for n in range(1, 9))


class Document(msgspec.Struct):
    id: str


class Customer(msgspec.Struct):
    id: str
    documents: list[Document]


class Account(msgspec.Struct):
    number: str


class Balance(msgspec.Struct):
    balance_minor: int


class Payment(msgspec.Struct):
    id: str
    amount_minor: int
    currency: str
    booked_at: str


class Refusal(msgspec.Struct):
    type: str
    title: str
    status: int


class Request(msgspec.Struct):
    key: str
    state: str
    status: int
    answer: msgspec.Raw


def conversations() -> list[Conversation]:
    customers, accounts = Conversation("partner", "customers"), Conversation("partner", "accounts")
    payments = Conversation("partner", "payments")
    _onboards(customers, accounts)
    _pays(payments)
    _lists(payments)
    _asks_again(payments)
    return [customers, accounts, payments]


def _client(
    method: str, path: str, reads: Any, body: Any = None, key: str = ""
) -> Callable[[str], Awaitable[None]]:
    async def ask(url: str) -> None:
        headers = {"Authorization": "Bearer token"} | ({"Idempotency-Key": key} if key else {})
        async with httpx.AsyncClient(base_url=url, headers=headers, trust_env=False) as client:
            answer = await client.request(method, path, json=body)
        msgspec.json.decode(answer.content, type=reads)

    return ask


def _onboards(customers: Conversation, accounts: Conversation) -> None:
    key = "partner-register"
    customers.requests(
        "register a customer",
        _client("POST", "/v1/customers", Customer, PERSON, key),
        request=("POST", "/v1/customers"),
        key=key,
        body=PERSON,
        status=201,
        reply={"id": some_id(), "documents": some_of({"id": some_id()})},
        reads=Customer,
    )
    wanted, key = {"customer_id": SOME_ID, "product": "SAVINGS-INR"}, "partner-open"
    accounts.requests(
        "open an account",
        _client("POST", "/v1/accounts", Account, wanted, key),
        request=("POST", "/v1/accounts"),
        key=key,
        body=wanted,
        status=201,
        reply={"number": match.regex(NUMBERS[0], regex=r"^\d{14}$")},
        reads=Account,
        given=[State("a customer", makes={"customer_id": SOME_ID})],
    )
    path = f"/v1/accounts/by-number/{NUMBERS[0]}"
    accounts.requests(
        "the balance of an account",
        _client("GET", path, Balance),
        request=("GET", path),
        reply={"balance_minor": BALANCE_MINOR},
        reads=Balance,
        given=[
            State(
                "a customer's account with money",
                {"balance_minor": BALANCE_MINOR},
                makes={"number": NUMBERS[0]},
            )
        ],
    )


def _wanted(remitter: str, beneficiary: str, amount_minor: int = AMOUNT_MINOR) -> dict[str, Any]:
    return {
        "remitter_account": remitter,
        "beneficiary_account": beneficiary,
        "amount_minor": amount_minor,
        "currency": "INR",
        "narrative": "rent",
    }


def _with_money(*numbers: str) -> list[State]:
    known = {"balance_minor": BALANCE_MINOR}
    return [State("an account with money", {"number": number, **known}) for number in numbers]


def _pays(payments: Conversation) -> None:
    path, key, here, there = "/v1/payments/transfers", "partner-transfer", *NUMBERS[1:3]
    payment = {
        "id": some_id(),
        "amount_minor": AMOUNT_MINOR,
        "currency": "INR",
        "booked_at": instant(),
    }
    payments.requests(
        "a transfer",
        _client("POST", path, Payment, _wanted(here, there), key),
        request=("POST", path),
        key=key,
        body=_wanted(here, there),
        status=201,
        reply=payment,
        reads=Payment,
        given=_with_money(here, there),
    )
    here, there = NUMBERS[3:5]
    refused = {
        "insufficient-funds": (409, _wanted(here, there, BALANCE_MINOR + 1), here, there),
        "no-such-account": (404, _wanted(here, NUMBERS[7]), here, here),
        "accounts-not-distinct": (409, _wanted(here, here), here, here),
    }
    for code, (status, body, *numbers) in refused.items():
        key = f"partner-{code}"
        payments.requests(
            f"a transfer that is refused: {code}",
            _client("POST", path, Refusal, body, key),
            request=("POST", path),
            key=key,
            body=body,
            status=status,
            reply={"type": f"urn:cbs:{code}", "title": match.type("Why."), "status": status},
            reads=Refusal,
            media_type=PROBLEM,
            given=_with_money(*dict.fromkeys(numbers)),
        )


class Page(msgspec.Struct):
    items: list[Payment]
    next_cursor: str | None


def _lists(payments: Conversation) -> None:
    query = {"account": NUMBERS[5], "limit": "20"}
    payments.requests(
        "the payments of an account that has none",
        _client("GET", f"/v1/payments/transfers?{urlencode(query)}", Page),
        request=("GET", "/v1/payments/transfers"),
        query=query,
        reply={"items": [], "next_cursor": None},
        reads=Page,
        given=_with_money(NUMBERS[6]),
    )


def _asks_again(payments: Conversation) -> None:
    key = "partner-asked-before"
    path = f"/v1/payments/requests/{key}"
    payments.requests(
        "what became of a request",
        _client("GET", path, Request),
        request=("GET", path),
        reply={
            "key": key,
            "state": "answered",
            "status": 201,
            "answer": {"id": some_id(), "amount_minor": AMOUNT_MINOR},
        },
        reads=Request,
        given=[State("a transfer was asked for", {"key": key})],
    )
