"""Each check sees what it is for, and nobody cries where nothing is wrong."""

from collections.abc import Mapping

import asyncpg
import pytest

from cbs.platform.declaration import declaration_of
from cbs.platform.invariants import CannotSay
from cbs.tools.local import databases
from cbs.tools.ops.verify.snapshots import DatabasePlace, Snapshots
from cbs.tools.ops.verify.verify import (
    ROWS_SHOWN_MAX,
    checks_of,
    findings,
    line,
    read_first,
    verdict,
)
from tests.conftest import Database
from tests.verify.bank import BUILDS, broken, verified
from tests.verify.planted import (
    ACCOUNTS,
    BOOK,
    CUSTOMERS,
    ONE_MORE_FACT,
    PAYMENTS,
    PLUMBING,
    planted,
)

PLANTS = BOOK + PLUMBING + PAYMENTS + ACCOUNTS + CUSTOMERS
SHORT_SECONDS = 0.3
HEARD_ONE_MORE = "UPDATE watermark SET position = position + 1 WHERE source = 'ledger'"


@pytest.mark.parametrize("offence", PLANTS, ids=lambda offence: offence.name)
async def test_a_violation_is_seen_by_its_checks_alone(bank, offence):
    await planted(bank, offence.service, *offence.statements)

    found = await verified(bank)

    seen = broken(found)
    assert set(seen) == offence.seen, "\n".join(line(finding) for finding in seen.values())
    assert all(finding.outcome == "violated" and finding.rows for finding in seen.values())
    assert verdict(found) == (1 if offence.seen else 0)


def test_every_check_has_a_violation_that_it_sees():
    proved = {check.partition("/")[2] for offence in PLANTS for check in offence.seen}

    # All services have the same plumbing and are audited alike: one of each is enough.
    wanted = {check.name for check in checks_of(list(BUILDS))}
    assert wanted - proved == {
        f"audited-{service}" for service in ("accounts", "audit", "customers", "payments")
    }


def test_who_tells_is_read_before_who_is_told_and_that_before_who_hears_it():
    services = ("payments", "ledger", "accounts")
    hears = {service: declaration_of(service).hears for service in services}
    first = read_first(checks_of(services), hears)
    places = {service: DatabasePlace(url="") for service in hears}

    order = Snapshots(places=places, hears=hears, read_first=first)._order()

    assert order.index("accounts") < order.index("ledger") < order.index("payments")


async def test_rows_tell_what_is_wrong(bank):
    await planted(
        bank,
        "audit",
        "INSERT INTO dead_letter VALUES ('customers', 7, '', 'indigestible', now())",
    )

    letters = broken(await verified(bank))["audit/dead-letters"]

    assert [row["replay_with"] for row in letters.rows] == [
        "./cbs dead-letters replay audit customers 7"
    ]


async def number(bank: Mapping[str, Database], service: str, query: str) -> int:
    return await databases.number(bank[service].admin_url, f"SELECT {query}")


async def said(bank: Mapping[str, Database], service: str, position: str) -> str:
    """The bytes of a fact, as SQL writes them."""
    connection = await asyncpg.connect(bank[service].admin_url)
    body = await connection.fetchval(f"SELECT body FROM outbox WHERE position = {position}")
    await connection.close()
    return f"'\\x{body.hex()}'::bytea"


async def test_what_was_set_aside_is_not_also_called_missing(bank):
    await planted(bank, "ledger", *ONE_MORE_FACT)
    await planted(bank, "payments", HEARD_ONE_MORE)
    more = await said(bank, "ledger", "(SELECT max(position) FROM outbox)")
    await planted(
        bank,
        "audit",
        f"INSERT INTO dead_letter SELECT source, position + 1, {more}, 'indigestible', now()"
        " FROM watermark WHERE source = 'ledger'",
        HEARD_ONE_MORE,
    )

    assert set(broken(await verified(bank))) == {"audit/dead-letters"}


async def test_a_payment_set_aside_is_not_also_called_missing(bank):
    await planted(
        bank,
        "payments",
        "DELETE FROM transfer WHERE position = (SELECT min(position) FROM transfer)",
    )
    missing = broken(await verified(bank))["payments/transfers-listed"].rows[0]["id"]
    told = f"(SELECT position FROM outbox WHERE encode(body, 'escape') LIKE '%{missing}%')"
    letter = f"'ledger', {await number(bank, 'ledger', told)}, {await said(bank, 'ledger', told)}"
    await planted(
        bank, "payments", f"INSERT INTO dead_letter VALUES ({letter}, 'indigestible', now())"
    )

    assert set(broken(await verified(bank))) == {"payments/dead-letters"}


async def test_a_listener_that_does_not_catch_up_leaves_it_unsaid(bank):
    await planted(bank, "ledger", *ONE_MORE_FACT)

    found = await verified(bank, fence_seconds_max=SHORT_SECONDS)

    seen = broken(found)
    unsaid = {"audit/audited-ledger", "payments/transfers-listed", "payments/listed-as-told"}
    assert set(seen) == unsaid
    assert seen["audit/audited-ledger"].outcome == "unknown"
    assert "is it running?" in seen["audit/audited-ledger"].why
    assert verdict(found) == 3


async def test_a_violation_outweighs_what_cannot_be_said(bank):
    await planted(bank, "ledger", *ONE_MORE_FACT)
    await planted(bank, "audit", "UPDATE audit_head SET root_hash = sha256('')")

    assert verdict(await verified(bank, fence_seconds_max=SHORT_SECONDS)) == 1


async def test_a_ruined_bank_does_not_fill_the_screen(bank):
    await planted(
        bank,
        "ledger",
        "INSERT INTO request SELECT 'ann', 'key-' || n, '', NULL, NULL, '2020-01-01'"
        " FROM generate_series(1, 5000) AS n",
    )

    finding = broken(await verified(bank))["ledger/requests-finished"]

    assert (len(finding.rows), finding.more) == (ROWS_SHOWN_MAX, True)


async def test_one_check_that_fails_does_not_take_the_others_along(bank):
    await planted(bank, "ledger", "ALTER TABLE posting DROP COLUMN limited")

    seen = broken(await verified(bank))

    assert set(seen) == {"ledger/debited-today", "ledger/legs-alike"}
    assert seen["ledger/debited-today"].outcome == "unknown"


async def test_a_server_that_may_lose_what_it_acknowledged_is_refused(bank):
    places = {service: DatabasePlace(url=each.verify_url) for service, each in bank.items()}

    with pytest.raises(CannotSay, match=r"fsync, full_page_writes is off .* restart"):
        await findings(places, say=lambda _: None, tell=lambda _: None)


async def test_a_server_that_is_not_there_is_not_called_violated():
    places = {"ledger": DatabasePlace(url="postgresql://cbs_verify@127.0.0.1:9/cbs_ledger")}

    with pytest.raises(CannotSay, match="the database of ledger cannot be read"):
        await findings(places, say=lambda _: None, tell=lambda _: None, may_lose=True)
