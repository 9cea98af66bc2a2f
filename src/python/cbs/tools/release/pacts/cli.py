"""What the `cbs` command reads of the public API: onboarding, cash, transfers, and dead letters."""

from collections.abc import Awaitable, Callable
from contextlib import closing
from typing import Any

import msgspec
from pact import match

from cbs.bank import SERVICES
from cbs.kernel.account_number import account_number
from cbs.tools.lab.demo.onboarding import OpenedAccount, RegisteredCustomer
from cbs.tools.lab.demo.replay import PostedView
from cbs.tools.local.public_api import PublicApi
from cbs.tools.ops.dead_letters import Letter, LetterPage, letters_of
from cbs.tools.release.pacts.conversation import (
    SOME_ID,
    Conversation,
    State,
    instant,
    some_id,
    some_of,
)
from cbs.tools.release.pacts.person import person

NAME, PERSON = "cbs-cli", person("AAPPV8261K")
Work = Callable[[PublicApi], Awaitable[object]]
DOCUMENT_ID = "01900000-0000-7000-8000-000000000002"


def conversations() -> list[Conversation]:
    made = {service: Conversation(NAME, service) for service in SERVICES}
    _onboards(made["customers"], made["accounts"])
    _pays(made["payments"])
    _posts(made["ledger"])
    for service, conversation in made.items():
        _dead_letters(service, conversation)
    return list(made.values())


def _as_client(work: Work) -> Callable[[str], Awaitable[None]]:
    async def ask(url: str) -> None:
        with closing(PublicApi(url, "token")) as api:
            await work(api)

    return ask


def _onboards(customers: Conversation, accounts: Conversation) -> None:
    customer = {"id": some_id(), "documents": some_of({"id": some_id(DOCUMENT_ID)})}
    register, verify, opening = (f"cbs-cli-{what}" for what in ("register", "verify", "open"))
    customers.requests(
        "register a customer",
        _as_client(lambda api: api.post("/v1/customers", PERSON, RegisteredCustomer, key=register)),
        request=("POST", "/v1/customers"),
        key=register,
        body=PERSON,
        status=201,
        reply=customer,
        reads=RegisteredCustomer,
    )
    path = f"/v1/customers/{SOME_ID}/documents/{DOCUMENT_ID}/verify"
    customers.requests(
        "verify a document",
        _as_client(lambda api: api.post(path, None, RegisteredCustomer, key=verify)),
        request=("POST", path),
        key=verify,
        reply=customer,
        reads=RegisteredCustomer,
        given=[
            State(
                "a customer without papers",
                makes={"customer_id": SOME_ID, "document_id": DOCUMENT_ID},
            )
        ],
    )
    wanted = {"customer_id": SOME_ID, "product": "SAVINGS-INR"}
    accounts.requests(
        "open an account",
        _as_client(lambda api: api.post("/v1/accounts", wanted, OpenedAccount, key=opening)),
        request=("POST", "/v1/accounts"),
        key=opening,
        body=wanted,
        status=201,
        reply={"number": match.regex("00110000000017", regex=r"^\d{14}$")},
        reads=OpenedAccount,
        given=[State("a customer", makes={"customer_id": SOME_ID})],
    )


def _pays(payments: Conversation) -> None:
    """It reads nothing of the answer but that it is one."""
    one, other = (account_number(branch=33, serial=n) for n in (1, 2))
    amount = {"amount_minor": 5_000, "currency": "INR"}
    cases: dict[str, dict[str, Any]] = {
        "deposit": {"account": one, **amount},
        "withdrawal": {"account": one, **amount},
        "transfer": {"remitter_account": one, "beneficiary_account": other, **amount},
    }
    for what, body in cases.items():
        path, key = f"/v1/payments/{what}s", f"cbs-cli-{what}"
        payments.requests(
            f"a {what}",
            _as_client(
                lambda api, path=path, body=body, key=key: api.post(  # type: ignore[misc]
                    path, body, msgspec.Raw, key=key
                )
            ),
            request=("POST", path),
            key=key,
            body=body,
            status=201,
            reply={},
            reads=msgspec.Raw,
            given=[
                State("an account with money", {"number": number, "balance_minor": 100_000})
                for number in (one, other)
            ],
        )


def _posts(ledger: Conversation) -> None:
    one, other = (account_number(branch=33, serial=n) for n in (9, 10))
    key = "cbs-cli-history-t1"
    body = {
        "kind": "history",
        "currency": "INR",
        "legs": [
            {"account": other, "amount_minor": -700},
            {"account": one, "amount_minor": 700},
        ],
        "value_on": "2020-02-29",
        "narrative": "as it was",
    }
    after = [(other, 200), (one, 700)]
    legs = [{"account": number, "balance_after_minor": minor} for number, minor in after]
    ledger.requests(
        "post a transaction of long ago",
        _as_client(lambda api: api.post("/v1/ledger/transactions", body, PostedView, key=key)),
        request=("POST", "/v1/ledger/transactions"),
        key=key,
        body=body,
        status=201,
        reply={"transaction": {"legs": legs}},
        reads=PostedView,
        given=[
            State("an account with money", {"number": one, "balance_minor": 0}),
            State("an account with money", {"number": other, "balance_minor": 900}),
        ],
    )


def _dead_letters(service: str, conversation: Conversation) -> None:
    letter = {
        "source": match.type("ledger"),
        "position": match.int(7),
        "error": match.type("why it could not be digested"),
        "at": instant(),
        "replayed_at": None,
        "fact": match.type({"specversion": "1.0"}),
    }

    async def read(api: PublicApi) -> None:
        letters = [each async for each in letters_of(api, service)]
        assert isinstance(letters[0], Letter)

    conversation.requests(
        "the dead letters",
        _as_client(read),
        request=("GET", f"/v1/{service}/dead-letters"),
        reply={"items": some_of(letter), "next_cursor": None},
        reads=LetterPage,
        given=[State("a fact was set aside")],
    )
