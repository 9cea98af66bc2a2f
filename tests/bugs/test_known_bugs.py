"""What went wrong elsewhere with money, tried here; docs/decisions/0005 has the whole list."""

import asyncio
import random
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
from structlog.testing import capture_logs

from cbs.bank import SERVICES
from cbs.ledger.application.book import Ledger
from cbs.ledger.domain.account import NoSuchAccount
from cbs.platform.database import Transaction
from tests.bugs.moments import PATIENCE_SECONDS, commit_lost, database_of, status, until
from tests.bugs.on_the_way import counting
from tests.conftest import Database as Place
from tests.ledger.orders import order
from tests.ledger.test_book import ALICE, BOB, CASH, Opened, book_on
from tests.ledger.test_races import ACCOUNTS, OPENING_MINOR, names
from tests.platform.houses import House, Running
from tests.serving import Served

CONTRACTS = Path(__file__).parents[2] / "contracts" / "openapi"
ROWS = """
    SELECT (SELECT count(*) FROM transaction), (SELECT count(*) FROM posting),
        (SELECT count(*) FROM request), (SELECT count(*) FROM outbox)"""
WRITES = "SELECT count(DISTINCT xmin::text) AS writes FROM posting WHERE account = $1"


async def test_midaz_2485_a_request_whose_answer_was_lost_is_applied_once(book: Opened):
    asked = order(ALICE, BOB, 30, key="same-key")
    for done in (False, True):
        with commit_lost(done=done):
            await status(book, asked)
    repeated = [await status(book, asked) for _ in range(3)]

    assert repeated == [201] * 3
    assert (await book.balance(ALICE), await book.balance(BOB)) == (70, 30)


@pytest.mark.parametrize("service", SERVICES)
def test_midaz_1974_and_fineract_5674_no_change_without_a_key(service: str):
    paths = msgspec.json.decode((CONTRACTS / f"{service}.json").read_bytes())["paths"]
    changes = [
        (path, method, operation)
        for path, operations in paths.items()
        for method, operation in operations.items()
        if method in ("post", "put", "patch", "delete")
    ]

    assert changes
    for path, method, operation in changes:
        keys = [each for each in operation["parameters"] if each["name"] == "Idempotency-Key"]
        assert [each["required"] for each in keys] == [True], f"{method} {path}"


async def test_midaz_1974_without_a_key_nothing_is_posted(ledger: Served):
    legs = [{"account": CASH, "amount_minor": -5}, {"account": "INR-FEES", "amount_minor": 5}]
    async with ledger.client("olga", "ledger.post", "ledger.read") as olga:
        olga.event_hooks = {}
        wanted = {"kind": "fee", "currency": "INR", "legs": legs}
        answer = await olga.post("/v1/ledger/transactions", json=wanted)
        fees = await olga.get("/v1/ledger/accounts/INR-FEES")

    assert answer.status_code == 400, answer.text
    assert fees.json()["balance_minor"] == 0


async def test_blnk_181_six_payments_of_1000_on_a_balance_of_5000(book: Opened):
    await book.fund(ALICE, 4_900)
    answers = await book.post(*(order(ALICE, BOB, 1_000) for _ in range(6)))

    assert sorted(answer.status for answer in answers) == [201] * 5 + [409]
    assert (await book.balance(ALICE), await book.balance(BOB)) == (0, 5_000)


async def test_blnk_144_an_account_opened_by_many_at_once_is_one(instances: list[Opened]):
    opened = await asyncio.gather(*(each.set("acc-new") for each in instances for _ in range(5)))

    assert {account.number for account in opened} == {"acc-new"}
    facts = await instances[0].book.outbox.after(0, limit=256)  # type: ignore[attr-defined]
    assert sum(b'"subject":"acc-new"' in body for _, _, body in facts) == 1


async def test_blnk_queued_nothing_is_answered_before_it_is_stored(book: Opened):
    commit, committing, go = Transaction.commit, asyncio.Event(), asyncio.Event()

    async def slow(transaction: Transaction) -> None:
        committing.set()
        await go.wait()
        await commit(transaction)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Transaction, "commit", slow)
        asked = asyncio.create_task(Ledger(book=book.book).post(order(ALICE, BOB, 30)))
        await asyncio.wait_for(committing.wait(), PATIENCE_SECONDS)
        stored_early, answered_early = await book.balance(BOB), asked.done()
        go.set()
        answer = await asked

    assert (stored_early, answered_early) == (0, False)
    assert (answer.status, await book.balance(BOB)) == (201, 30)


async def test_formance_364_concurrent_requests_have_ids_and_bodies_of_their_own(
    instances: list[Opened],
):
    ledgers = [Ledger(book=each.book) for each in instances]
    orders = [order(CASH, names()[n % ACCOUNTS], n, kind="gift") for n in range(1, 61)]
    answers = await asyncio.gather(*(ledgers[n % 2].post(each) for n, each in enumerate(orders)))

    told = [msgspec.json.decode(answer.body)["transaction"] for answer in answers]
    assert len({transaction["id"] for transaction in told}) == len(orders)
    assert [transaction["legs"][1]["amount_minor"] for transaction in told] == list(range(1, 61))


async def test_formance_1416_what_is_not_there_does_not_reconcile_to_zero(ledger: Served):
    url = "/v1/ledger/accounts/INR-NOBODY"
    async with ledger.client("olga", "ledger.read") as olga:
        answers = [
            await olga.get(f"{url}/balance", params={"value_on": "2026-01-01"}),
            await olga.get(f"{url}/postings"),
            await olga.get(url),
            await olga.get("/v1/ledger/accounts/INR-CASH/balance"),
            await olga.get("/v1/ledger/accounts/INR-CASH/balance", params={"value_on": "x"}),
        ]

    assert [answer.status_code for answer in answers] == [404] * 3 + [400] * 2


async def test_formance_1349_what_is_asked_for_is_never_sql(book: Opened):
    for text in ("nobody' OR account = 'alice", "alice'; DROP TABLE request; --", "%", "\\"):
        assert await book.book.accounts([text]) == []
        assert await book.book.history(text, before=9, limit=9) == []
        assert await book.book.balance_on(text, date(2030, 1, 1)) == 0
        assert await status(book, order(ALICE, text, 1, key=text)) == 404
        with pytest.raises(NoSuchAccount):
            await Ledger(book=book.book).account(text)

        await book.set(text)
        assert await status(book, order(ALICE, text, 1)) == 201
        assert await book.balance(text) == 1


async def test_formance_bulk_and_mojaloop_4021_nobody_waits_in_a_circle(instances: list[Opened]):
    """Payments between random accounts in both instances, and terms that change meanwhile."""
    dice, ledgers = random.Random(3), [Ledger(book=each.book) for each in instances]

    async def change_terms(number: str) -> None:
        for version in range(2, 12):
            await dice.choice(instances).set(number, version=version)

    with capture_logs() as logs:
        pairs = [dice.sample(names(), 2) for _ in range(300)]
        paying = [dice.choice(ledgers).post(order(one, other, 1)) for one, other in pairs]
        async with asyncio.timeout(PATIENCE_SECONDS):
            changing = [change_terms(number) for number in names()]
            answers: Any = await asyncio.gather(*paying, *changing)

    assert [log["event"] for log in logs if log["event"].startswith("batch-")] == []
    assert {answer.status for answer in answers[:300]} <= {201, 409}
    assert sum([await instances[0].balance(each) for each in names()]) == ACCOUNTS * OPENING_MINOR


async def test_fineract_5135_a_hot_account_is_cheaper_not_slower(instances: list[Opened]):
    ledgers, hot = [Ledger(book=each.book) for each in instances], names()[0]
    orders = [order(CASH, hot, 1, kind="gift") for _ in range(100)]
    async with asyncio.timeout(PATIENCE_SECONDS):
        answers = await asyncio.gather(*(ledgers[n % 2].post(o) for n, o in enumerate(orders)))

    assert {answer.status for answer in answers} == {201}
    assert await instances[0].balance(hot) == OPENING_MINOR + 100
    assert (await database_of(instances[0]).fetchrow(WRITES, hot))["writes"] <= 20


async def test_bank_of_anthos_329_and_mojaloop_3527_a_payment_is_so_many_rows(book: Opened):
    before = await database_of(book).fetchrow(ROWS)
    await book.post(order(ALICE, BOB, 5))
    after = await database_of(book).fetchrow(ROWS)

    assert [new - old for old, new in zip(before, after, strict=True)] == [1, 2, 1, 1]


async def test_bank_of_anthos_168_a_replay_is_known_after_a_restart(
    database: Callable[[str], Place],
):
    place, asked, answers = database("ledger"), order(CASH, "INR-FEES", 5, kind="fee"), []
    for _ in range(2):
        async with book_on(place.runtime_url) as opened:
            answers += await opened.post(asked)
            balance = await opened.balance("INR-FEES")

    assert answers[0] == answers[1]
    assert balance == 5


async def test_openbank_939_a_replay_from_the_beginning_does_nothing_twice(house: House):
    done = counting(house)

    async def relayed() -> int:
        return await house.source.head() - await house.source.waiting()

    async with Running(house.relay, house.consumer):
        await house.light(*range(20))
        await until(20, done)
    await house.bus.jetstream().delete_stream("CBS_LEDGER")
    await house.source.database.execute("UPDATE relay SET position = 0")

    async with Running(house.relay, house.consumer):
        await house.light(20)
        await until(21, done)
        await until(21, relayed)
    await house.consumer.hear([body for _, _, body in await house.source.after(0, limit=256)])

    assert await done() == 21


@pytest.mark.parametrize("statement", ["DELETE FROM request", "TRUNCATE request"])
async def test_midaz_1800_no_key_is_cleaned_up_by_the_service(book: Opened, statement: str):
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await database_of(book).execute(statement)
