"""On a real bank: what a canary booked wrongly is seen; what was wrong before is not its fault."""

import asyncpg
import pytest

from cbs.platform.context import new_id
from cbs.tools.ops.verify.snapshots import DatabasePlace
from cbs.tools.release.deploy.money import BankLook, known, look, money
from cbs.tools.release.gate.records import GateAnswer
from tests.verify import conftest
from tests.verify.bank import ANN
from tests.verify.planted import FIRST, planted

bank, specimen = conftest.bank, conftest.specimen
SAID = "SELECT body FROM outbox WHERE position = $1"
LETTER = r"INSERT INTO dead_letter VALUES ('ledger', {}, '\x{}', 'indigestible', now())"
WRONG_POSTING = (
    f"UPDATE posting SET amount_minor = amount_minor - 7"
    f" WHERE account = '{ANN}' AND transaction_id = {FIRST}"
)


def places(bank):
    return {service: DatabasePlace(url=each.verify_url) for service, each in bank.items()}


async def seen(bank, **more) -> BankLook:
    return await look(places(bank), say=lambda _: None, may_lose=True, **more)


def answers(reasons) -> set[GateAnswer]:
    return {reason.answer for reason in reasons}


async def test_a_clean_bank_is_a_yes_with_its_numbers(bank):
    before = await seen(bank)

    (reason,) = money(before, await seen(bank))

    assert reason.answer is GateAnswer.YES
    assert f"{before.checks} invariants checked" in reason.why
    assert before.checks > 20


async def test_a_wrong_posting_of_a_canary_is_a_no_and_named(bank):
    before = await seen(bank)
    await planted(bank, "ledger", WRONG_POSTING)

    reasons = money(before, await seen(bank))

    assert answers(reasons) == {GateAnswer.NO}
    sums = next(each for each in reasons if each.why.startswith("ledger/transaction-sums"))
    assert "1 rows more than before the canary: transaction_id" in sums.why
    assert "reverse" in sums.todo


async def test_a_release_begins_on_a_violated_book_only_if_somebody_signs_for_it(bank):
    well, notes = known(await seen(bank), despite="", by="asha")
    assert (answers(well), notes) == ({GateAnswer.YES}, [])
    await planted(bank, "ledger", WRONG_POSTING)
    before = await seen(bank)

    refused, _ = known(before, despite="", by="asha")
    signed, notes = known(before, despite="it mends that", by="asha")

    assert answers(refused) == {GateAnswer.NO}
    assert len(refused) == len(before.violated) > 1
    sums = next(each for each in refused if each.why.startswith("ledger/transaction-sums"))
    assert "is violated already by transaction_id" in sums.why
    assert "--despite-violations" in sums.todo
    assert answers(signed) == {GateAnswer.YES}
    (note,) = notes
    assert "asha signs for it (it mends that)" in note
    assert "ledger/transaction-sums" in note


async def test_what_was_wrong_before_is_not_the_canarys(bank):
    await planted(bank, "ledger", WRONG_POSTING)
    before = await seen(bank)

    (reason,) = money(before, await seen(bank))

    assert reason.answer is GateAnswer.YES
    assert "violated as before" in reason.why


async def letter(bank, position: int) -> str:
    """A fact of the ledger, set aside by payments."""
    ledger = await asyncpg.connect(bank["ledger"].admin_url)
    try:
        body = await ledger.fetchval(SAID, position)
    finally:
        await ledger.close()
    return LETTER.format(position, body.hex())


async def test_dead_letters_must_not_grow(bank):
    await planted(bank, "payments", await letter(bank, 1))
    before = await seen(bank)
    assert answers(money(before, await seen(bank))) == {GateAnswer.YES}

    await planted(bank, "payments", await letter(bank, 2))
    (reason,) = money(before, await seen(bank))

    assert reason.answer is GateAnswer.NO
    assert reason.why == "payments has 2 dead letters, 1 before the canary"


async def test_a_stuck_saga_is_a_no_and_a_young_one_is_not(bank):
    before = await seen(bank)
    saga = (
        "INSERT INTO saga (id, kind, step, data, principal, key, on_behalf_of, correlation_id,"
        f" begun_at, lease_until) SELECT '{new_id()}', kind, 'open-in-ledger', data, principal,"
        " 'stuck', on_behalf_of, correlation_id, now(), now() FROM saga LIMIT 1"
    )
    asked = (
        "INSERT INTO request (principal, key, fingerprint, asked_at)"
        " SELECT principal, 'stuck', '', now() FROM saga LIMIT 1"
    )
    await planted(bank, "accounts", saga, asked)

    assert answers(money(before, await seen(bank))) == {GateAnswer.YES}
    (reason,) = money(before, await seen(bank, stuck_seconds_max=0))

    assert (reason.answer, before.stuck) == (GateAnswer.NO, 0)
    assert reason.why == "1 sagas are stuck, 0 before the canary"


@pytest.mark.parametrize(
    ("before", "after", "answer"),
    [
        ({"violated": {"a/b": ["x"]}}, {"violated": {"a/b": ["x", "y"]}}, GateAnswer.NO),
        (
            {"violated": {"a/b": ["x", "and more"]}},
            {"violated": {"a/b": ["x", "and more"]}},
            GateAnswer.UNKNOWN,
        ),
        ({}, {"unknown": {"a/b": "the database is away"}}, GateAnswer.UNKNOWN),
    ],
)
def test_what_cannot_be_compared_is_unknown(before, after, answer):
    assert answers(money(BankLook(**before), BankLook(**after))) == {answer}
