"""What an older release took is listed, each row with its repair; what SQL mends holds again."""

import asyncpg
import pytest

from cbs.tools.ops.outdated import rules
from tests.verify.bank import ANN, verified
from tests.verify.planted import planted

ADDRESS = '{{"lines": ["1"], "city": "Pune", "state": "MH", "country": "{}"}}'
FIRST = "(SELECT id FROM transaction ORDER BY id LIMIT 1)"
# By the rule that sees it: the service, and what an older release let in.
LET_IN = {
    "people: a name that nobody sees": (
        "customers",
        "UPDATE customer SET family_name = U&'\\3164' WHERE given_name = 'Ann'",
    ),
    "people: a name in another form": (
        "customers",
        "UPDATE customer SET given_name = U&'Zoe\\0308' WHERE given_name = 'Ann'",
    ),
    "people: a short mobile": (
        "customers",
        "UPDATE customer SET mobile = '+9198765432' WHERE given_name = 'Ann'",
    ),
    "people: a country that is none": (
        "customers",
        f"UPDATE customer SET address = '{ADDRESS.format('ZZ')}' WHERE given_name = 'Ann'",
    ),
    "issuers: a country by its name": ("customers", "UPDATE document SET issuer = 'INDIA'"),
    "alike: the same person twice": (
        "customers",
        "UPDATE customer SET search_name = 'ann', date_of_birth = '1990-01-01',"
        " mobile = '+919876543210'",
    ),
    "products: a name of spaces": ("accounts", "UPDATE product SET name = U&'\\2800'"),
    "closed-customers: who still has an account": (
        "customers",
        "UPDATE customer SET status = 'closed' WHERE given_name = 'Ann'",
    ),
    "narratives: text that turns": (
        "ledger",
        f"UPDATE transaction SET narrative = U&'\\202E' WHERE id = {FIRST}",
    ),
    "value-dates: before the bank": (
        "ledger",
        f"UPDATE transaction SET value_on = '1899-12-31' WHERE id = {FIRST}",
    ),
}
DATED = f"UPDATE transaction SET value_on = '-infinity' WHERE id = {FIRST}"
LEGS_DATED = f"UPDATE posting SET value_on = '-infinity' WHERE transaction_id = {FIRST}"
EARLY = "SELECT value_on::text FROM transaction WHERE value_on < '0002-01-01'"
AHEAD = f"UPDATE account SET debited_on = CURRENT_DATE + 365 WHERE number = '{ANN}'"


async def listed(bank):
    return await verified(bank, checks=rules())


async def test_of_what_is_taken_today_nothing_is_listed(bank):
    assert [each for each in await listed(bank) if each.outcome != "holds"] == []


@pytest.mark.parametrize("case", LET_IN)
async def test_what_was_let_in_is_listed_with_its_repair(bank, case):
    service, statement = LET_IN[case]
    await planted(bank, service, statement)

    found = [finding for finding in await listed(bank) if finding.outcome != "holds"]

    assert [finding.check for finding in found] == [case.partition(":")[0]]
    assert all(row["repair"] for row in found[0].rows)


@pytest.mark.parametrize(
    ("check", "statements"), [("undated", (DATED, LEGS_DATED)), ("debited-ahead", (AHEAD,))]
)
async def test_what_sql_mends_holds_again(bank, check, statements):
    await planted(bank, "ledger", *statements)
    (found,) = [finding for finding in await listed(bank) if finding.outcome != "holds"]
    assert found.check == check and len(found.rows) == 1

    admin = await asyncpg.connect(bank["ledger"].admin_url)
    try:
        async with admin.transaction():
            await admin.execute(found.rows[0]["sql"])
        days = await admin.fetch(
            "SELECT value_on::text FROM transaction WHERE value_on < '0002-01-01'"
        )
    finally:
        await admin.close()

    assert [row["value_on"] for row in days] == (["0001-01-01"] if check == "undated" else [])
    left = [each.check for each in await listed(bank) if each.outcome != "holds"]
    assert left == (["value-dates"] if check == "undated" else [])
    if check == "debited-ahead":
        assert {finding.outcome for finding in await verified(bank)} == {"holds"}
