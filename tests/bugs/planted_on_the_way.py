"""Bugs planted in the way of a fact from outbox to consumer."""

from cbs.platform import inbox, outbox
from cbs.platform.consumer import Consumer
from cbs.platform.relay import Relay
from tests.bugs import on_the_way
from tests.bugs import test_known_bugs as known_bugs
from tests.bugs.planted_in_commits import TO_THE_POOL
from tests.bugs.planting import Bug, Edit
from tests.platform import test_facts as facts

NOTHING = "SELECT $1::text, $2::bigint, $3::bytea, $4::text, $5::timestamptz WHERE false"

ON_THE_WAY = [
    Bug(
        "a fact of what was undone",
        "house",
        facts.test_a_fact_whose_transaction_fails_is_never_heard,
        "the consumer heard nothing of it",
        TO_THE_POOL,
    ),
    Bug(
        "positions in the order of inserts",
        "house",
        on_the_way.a_slow_transaction_and_a_quick_one,
        "race: nothing commits behind a reader's back",
        (
            Edit(
                outbox.PostgresOutbox,
                "next_positions",
                "self.database.connection.",
                "self.database.pool.",
            ),
        ),
    ),
    Bug(
        "the watermark moves in a transaction of its own",
        "house",
        on_the_way.a_listener_killed_at_its_commit,
        "killed at its commit, the consumer hears it again",
        (
            Edit(inbox, "LOCKED", "FOR UPDATE", ""),
            Edit(
                inbox.PostgresInbox,
                "move",
                "self.database.connection.",
                "self.database.pool.",
            ),
        ),
    ),
    Bug(
        "the watermark moves after the commit",
        "house",
        on_the_way.a_listener_killed_at_its_commit,
        "killed at its commit, the consumer does it once: no dead letter",
        (
            Edit(
                Consumer,
                "_handled",
                "                await self.inbox.move(self.source, due[-1].position)\n",
                "        if due:\n"
                "            async with self.database.transaction():\n"
                "                await self.inbox.move(self.source, due[-1].position)\n",
            ),
        ),
    ),
    Bug(
        "two consumers read the watermark at once",
        "house",
        on_the_way.two_listeners_hear_the_same,
        "race: what is done is done once",
        (Edit(inbox, "LOCKED", "FOR UPDATE", ""),),
    ),
    Bug(
        "what was heard is digested again",
        "house",
        known_bugs.test_openbank_939_a_replay_from_the_beginning_does_nothing_twice,
        "what is done is done once",
        (Edit(Consumer, "_handled", "fact.position == heard", "fact.position <= heard"),),
    ),
    Bug(
        "the consumer skips a gap",
        "house",
        facts.test_repeated_and_shuffled_deliveries_change_nothing,
        "every fact once",
        (
            Edit(
                Consumer,
                "_handled",
                "fact.position == heard + len(due) + 1",
                "fact.position > heard + len(due)",
            ),
        ),
    ),
    Bug(
        "a gap is not fetched",
        "house",
        on_the_way.a_fact_that_the_broker_did_not_bring,
        "every fact once",
        (
            Edit(
                Consumer,
                "hear",
                "if await self._heard(bodies)",
                "if await self._heard(bodies) and 0",
            ),
        ),
    ),
    Bug(
        "the relay marks before it publishes",
        "house",
        on_the_way.a_broker_that_takes_nothing_at_first,
        "the stream has every fact",
        (
            Edit(
                Relay,
                "publish",
                "        jetstream = ",
                "        await turn.published(facts[-1][0])\n        jetstream = ",
            ),
        ),
    ),
    Bug(
        "what cannot be digested is dropped",
        "house",
        facts.test_a_poisoned_fact_is_set_aside_and_can_be_replayed,
        "the dead letter is there to replay",
        (Edit(inbox, "SET_ASIDE", "VALUES ($1, $2, $3, $4, $5)", NOTHING),),
        ValueError,
    ),
]
