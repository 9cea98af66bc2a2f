"""What the ledger booked once and would refuse today. What was booked stays; what only counts or
stands wrong in the database is mended by SQL."""

from collections.abc import AsyncIterator

from cbs.kernel.calendar import EARLIEST_BUSINESS_DATE
from cbs.kernel.text import in_one_form, is_line
from cbs.platform.invariants import Check, Row, SnapshotReader, query

NARRATIVES = "SELECT id, narrative FROM transaction WHERE narrative <> '' ORDER BY id"
# A driver took the first day of all for minus infinity; the fact and the request say the day.
UNDATED = """
    SELECT id AS transaction_id, format(
        'SET LOCAL session_replication_role = replica;
        UPDATE transaction SET value_on = ''0001-01-01'' WHERE id = %L;
        UPDATE posting SET value_on = ''0001-01-01'' WHERE transaction_id = %1$L', id) AS sql
    FROM transaction WHERE value_on = '-infinity' ORDER BY id"""
TOO_EARLY = """
    SELECT id AS transaction_id, value_on,
        'reverse it today, and post it again with its right value date' AS repair
    FROM transaction WHERE value_on > '-infinity' AND value_on < $1 ORDER BY id"""
# A clock that was ahead: until that day comes, every debit counts to one day's limit.
AHEAD = """
    SELECT number, debited_on, format(
        'UPDATE account SET debited_on = %L, debited_minor = %s WHERE number = %L',
        last.booked_on, coalesce(counted.minor, 0), number) AS sql
    FROM account,
        LATERAL (SELECT max(booked_on) AS booked_on FROM posting
                 WHERE account = number AND booked_on <= CURRENT_DATE + 1) AS last,
        LATERAL (SELECT sum(-amount_minor) AS minor FROM posting
                 WHERE account = number AND booked_on = last.booked_on AND limited
                     AND amount_minor < 0) AS counted
    WHERE debited_on > CURRENT_DATE + 1 ORDER BY number"""


async def _narratives(snapshots: SnapshotReader) -> AsyncIterator[Row]:
    async for row in snapshots.rows("ledger", NARRATIVES):
        text = row["narrative"]
        if not is_line(text) or in_one_form(text) != text:
            yield {
                "transaction_id": row["id"],
                "narrative": ascii(text),
                "repair": "none: what was booked is not rewritten; show it escaped",
            }


OUTDATED = (
    Check(
        service="ledger",
        name="narratives",
        promise="a narrative is a line that can be read",
        find=_narratives,
    ),
    query("ledger", "undated", "a value date is a day", UNDATED),
    query(
        "ledger",
        "value-dates",
        f"no value date is before {EARLIEST_BUSINESS_DATE}",
        TOO_EARLY,
        EARLIEST_BUSINESS_DATE,
    ),
    query("ledger", "debited-ahead", "no day's limit is counted ahead of its day", AHEAD),
)
