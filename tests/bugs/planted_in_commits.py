"""Bugs planted in what the ledger has written, and when it says so."""

from cbs.ledger.application import book as batches
from cbs.ledger.store.write_path import WritePath
from cbs.platform import outbox
from tests.bugs import scenarios
from tests.bugs import test_known_bugs as known_bugs
from tests.bugs.planting import Bug, Edit

TO_THE_POOL = (
    Edit(outbox.PostgresOutbox, "next_positions", "self.database.connection", "self.database.pool"),
    Edit(outbox.PostgresOutbox, "keep", "self.database.connection", "self.database.pool"),
)

COMMITS = [
    Bug(
        "one bad order fails the batch",
        "book",
        scenarios.a_bad_order_among_good_ones,
        "the neighbours are posted",
        (
            Edit(
                batches.Ledger,
                "_outcomes",
                "except BatchAborted:\n",
                "except BatchAborted:\n            return [Unavailable()] * len(orders)\n",
            ),
        ),
    ),
    Bug(
        "answered before it is committed",
        "book",
        scenarios.the_server_is_lost_before_it_commits,
        "a COMMIT that never happened is not called done",
        (Edit(WritePath, "_once", "raise OutcomeUnknown from error", "return outcomes"),),
    ),
    Bug(
        "answered before it is stored",
        "book",
        known_bugs.test_blnk_queued_nothing_is_answered_before_it_is_stored,
        "no answer while COMMIT waits",
        (
            Edit(
                batches.Ledger,
                "_outcomes",
                "return await self.book.post(orders)",
                "asyncio.ensure_future(self.book.post(orders));"
                ' return [Answer(status=201, body=b"")] * len(orders)',
            ),
        ),
    ),
    Bug(
        "an unknown outcome is called a no",
        "book",
        scenarios.the_server_is_lost_after_it_commits,
        "a COMMIT without an answer is looked up",
        (Edit(WritePath, "_once", "raise OutcomeUnknown", "raise Unavailable"),),
    ),
    Bug(
        "facts are written before the commit",
        "book",
        scenarios.the_server_is_lost_before_it_commits,
        "facts are as many as transactions",
        TO_THE_POOL,
    ),
    Bug(
        "facts are written after the commit",
        "book",
        scenarios.the_server_is_lost_after_it_commits,
        "facts are as many as transactions",
        (
            Edit(
                WritePath,
                "_write",
                "await self.outbox.put_all(",
                "self.database.current_transaction.get().told = (",
            ),
            Edit(
                WritePath,
                "_once",
                "            return outcomes\n",
                "            async with self.database.transaction():\n"
                "                await self.outbox.put_all(transaction.told)\n"
                "            return outcomes\n",
            ),
        ),
    ),
]
