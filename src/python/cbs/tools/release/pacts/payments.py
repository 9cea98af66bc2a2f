"""What payments reads of the ledger: what it posted, what it refused, and its facts."""

from collections.abc import Awaitable, Callable
from uuid import UUID

import msgspec
from pact import match

from cbs.kernel.account_number import account_number
from cbs.kernel.money import Currency
from cbs.payments.clients import CREATED, LedgerClient
from cbs.payments.consumer import TransactionPosted, handler_of
from cbs.payments.domain.transfer import Kind, Transfer, till
from cbs.platform.bus import Bus
from cbs.platform.outbox import fact_of
from cbs.tools.release.pacts.bus_replies import hears_by_request, is_refused, said
from cbs.tools.release.pacts.conversation import SOME_ID, Conversation, State, day, instant, some_id

INR = Currency.INR
AMOUNT_MINOR, PLENTY_MINOR = 125_050, 500_000
CASH = till(INR)
NUMBER = r"^(\d{14}|[A-Z]{3}-[A-Z]+)$"


def conversations() -> list[Conversation]:
    ledger = Conversation("payments", "ledger")
    _posts(ledger)
    _is_refused(ledger)
    _asks_again(ledger)
    _asks_what_became(ledger)
    hears_by_request(ledger)
    ledger.hears(
        "transaction-posted",
        _listed,
        data={"transaction_id": some_id(), **_movement(Kind.TRANSFER, *_pair(30))},
        reads=TransactionPosted,
        given=[State("transaction-posted happened")],
    )
    return [ledger]


def _pair(serial: int) -> tuple[str, str]:
    """Two accounts of the interaction's own."""
    first, second = (account_number(branch=11, serial=serial + n) for n in (0, 1))
    return str(first), str(second)


def _movement(kind: Kind, remitter: str, beneficiary: str) -> dict[str, object]:
    """A posted payment, in matchers; the amount is the one that the state moves."""
    legs = [
        {"account": match.regex(account, regex=NUMBER), "amount_minor": minor}
        for account, minor in ((remitter, -AMOUNT_MINOR), (beneficiary, AMOUNT_MINOR))
    ]
    return {
        "kind": match.type(kind.value),
        "currency": "INR",
        "booked_on": day(),
        "value_on": day(),
        "booked_at": instant(),
        "narrative": match.type("rent"),
        "legs": legs,
    }


def _exactly(kind: Kind, remitter: str, beneficiary: str) -> dict[str, object]:
    """What was asked for is what is posted: these are values, not only types."""
    legs = [
        {"account": remitter, "amount_minor": -AMOUNT_MINOR},
        {"account": beneficiary, "amount_minor": AMOUNT_MINOR},
    ]
    same = {"kind": kind.value, "narrative": "rent", "legs": legs}
    return {"id": some_id(), **_movement(kind, remitter, beneficiary), **same}


async def _post(bus: Bus, kind: Kind, remitter: str, beneficiary: str, key: str) -> Transfer:
    return await LedgerClient(bus=bus).post(
        kind=kind,
        remitter_account=remitter,
        beneficiary_account=beneficiary,
        amount_minor=AMOUNT_MINOR,
        currency=INR,
        narrative="rent",
        key=key,
    )


def _posts(ledger: Conversation) -> None:
    for n, kind in enumerate(Kind):
        remitter, beneficiary = _pair(2 * n + 1)
        customers = [remitter, beneficiary]
        if kind is Kind.CASH_DEPOSIT:
            remitter, customers = CASH, [beneficiary]
        if kind is Kind.CASH_WITHDRAWAL:
            beneficiary, customers = CASH, [remitter]
        pair = remitter, beneficiary

        async def post(bus: Bus, pair: tuple[str, str] = pair, kind: Kind = kind) -> None:
            done = await _post(bus, kind, *pair, key=f"a-{kind}")
            assert (done.kind, done.amount_minor) == (kind, AMOUNT_MINOR)

        ledger.asks(
            f"post a {kind}",
            post,
            data={"transaction": _exactly(kind, remitter, beneficiary)},
            given=[
                State("an account with money", {"number": number, "balance_minor": PLENTY_MINOR})
                for number in customers
            ],
        )


# What the ledger refuses: how the remitter (and the beneficiary) must be for it.
REFUSED: dict[str, tuple[str, dict[str, object], dict[str, object]]] = {
    "insufficient-funds": ("conflict", {"balance_minor": 100}, {}),
    "account-blocked": ("conflict", {"debit_blocked": True}, {}),
    "account-closed": ("conflict", {}, {"balance_minor": 0, "closed": True}),
    "limit-per-transaction": ("conflict", {"limit_per_transaction_minor": 1_000}, {}),
    "limit-per-day": ("conflict", {"limit_per_day_minor": 1_000}, {}),
    "ceiling-passed": ("conflict", {}, {"balance_minor": 0, "ceiling_minor": 1_000}),
    "currency-mismatch": ("conflict", {}, {"balance_minor": 0, "currency": "EUR"}),
}


def _is_refused(ledger: Conversation) -> None:
    plenty = {"balance_minor": PLENTY_MINOR}
    for n, (code, (because, remitter, beneficiary)) in enumerate(REFUSED.items()):
        here, there = _pair(40 + 2 * n)
        ledger.asks(
            f"post what is refused: {code}",
            _refused(code, here, there),
            refused=said(because, code),
            given=[
                State("an account with money", {**plenty, **remitter, "number": here}),
                State("an account with money", {**plenty, **beneficiary, "number": there}),
            ],
        )
    here, there = _pair(60)
    ledger.asks(
        "post what is refused: no-such-account",
        _refused("no-such-account", here, there),
        refused=said("not-found", "no-such-account"),
    )


def _refused(code: str, here: str, there: str) -> Callable[[Bus], Awaitable[None]]:
    async def post(bus: Bus) -> None:
        await is_refused(code, _post(bus, Kind.TRANSFER, here, there, key=f"refused-{code}"))

    return post


def _asks_again(ledger: Conversation) -> None:
    posted = _movement(Kind.TRANSFER, *_pair(20))

    async def found(bus: Bus) -> None:
        transfer = await LedgerClient(bus=bus).transfer(UUID(SOME_ID))
        assert transfer is not None
        assert transfer.amount_minor == AMOUNT_MINOR

    async def not_found(bus: Bus) -> None:
        assert await LedgerClient(bus=bus).transfer(UUID(SOME_ID)) is None

    ledger.asks(
        "show a transaction",
        found,
        data={"transaction": {"id": some_id(), **posted}},
        given=[State("transaction-posted happened", makes={"transaction_id": SOME_ID})],
    )
    ledger.asks(
        "show a transaction that is not there",
        not_found,
        refused=said("not-found", "no-such-transaction"),
    )


def _asks_what_became(ledger: Conversation) -> None:
    posted = _movement(Kind.TRANSFER, *_pair(20))

    async def kept(bus: Bus) -> None:
        kept = await LedgerClient(bus=bus).kept(principal="tilda", key="kept-before")
        assert kept is not None
        assert kept.status == CREATED
        assert kept.request("kept-before", shown=lambda transfer: transfer.narrative.encode())

    async def not_kept(bus: Bus) -> None:
        assert await LedgerClient(bus=bus).kept(principal="tilda", key="never-asked") is None

    ledger.asks(
        "what became of a request",
        kept,
        data={
            "state": "answered",
            "asked_at": instant(),
            "answered_at": instant(),
            "status": CREATED,
            "answer": {"transaction": {"id": some_id(), **posted}},
        },
        given=[
            State(
                "a payment was asked for",
                {"key": "payments/kept-before"},
                makes={"principal": "tilda"},
            )
        ],
    )
    ledger.asks(
        "what became of a request that was never made",
        not_kept,
        refused=said("not-found", "no-such-request"),
    )


async def _listed(body: bytes) -> None:
    kept: list[object] = []

    class Transfers:
        async def add(self, heard: list[object]) -> None:
            kept.extend(heard)

    await handler_of(Transfers())([fact_of(body)])  # type: ignore[arg-type]
    assert len(kept) == 1, msgspec.json.encode(str(kept))
