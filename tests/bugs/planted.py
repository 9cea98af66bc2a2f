"""Bugs that other banks had, or that we could have: each planted in ours, with what catches it.

`seen` other than AssertionError: the database, or another second net, stops it before the test.
"""

from cbs.accounts.application import sagas as account_sagas
from cbs.payments import clients
from cbs.platform import bus, idempotency, saga_store
from tests.accounts import test_races as accounts_races
from tests.bugs import scenarios
from tests.bugs.planted_in_commits import COMMITS
from tests.bugs.planted_in_the_book import DECISIONS, KEYS
from tests.bugs.planted_in_the_rules import RULES
from tests.bugs.planted_on_the_way import ON_THE_WAY
from tests.bugs.planting import Bug, Edit
from tests.platform import test_idempotency as keys

AT_THE_EDGES = [
    Bug(
        "the effect of a refused request stays",
        "requests",
        keys.test_a_refusal_undoes_its_effect_and_is_kept,
        "nothing is seen of it",
        (
            Edit(
                idempotency.Keys,
                "once",
                "async with self.database.savepoint():",
                "if True:",
            ),
        ),
    ),
    Bug(
        "another request gets the answer of the first",
        "requests",
        keys.test_another_request_under_the_key_is_refused,
        "another request under the key is refused",
        (
            Edit(
                idempotency.Keys,
                "once",
                "earlier.fingerprint != asked.fingerprint",
                "False",
            ),
        ),
        scenarios.NotRaised,
    ),
    Bug(
        "a payment asked for again goes under a new key",
        "bank",
        scenarios.a_payment_asked_for_again,
        "money moves once",
        (
            Edit(
                clients,
                "key_at_ledger",
                "payments/{key}",
                "payments/{__import__('uuid').uuid4()}",
            ),
        ),
    ),
    Bug(
        "a call repeated on the bus goes under a new key",
        "bank",
        scenarios.a_reply_that_is_lost,
        "money moves once",
        (
            Edit(
                bus.Bus,
                "call",
                "                key=key,",
                "                key=key and __import__('uuid').uuid4().hex,",
            ),
        ),
    ),
    Bug(
        "a step of a saga, or its compensation, is taken twice",
        "database",
        scenarios.one_step_taken_by_many,
        "race: one of many takes it",
        (Edit(saga_store, "IS_AT", "step = $2", "$2 <> ''"),),
    ),
    Bug(
        "a freeze is answered before the ledger has it",
        "desk",
        accounts_races.test_a_freeze_asked_by_many_holds_before_anyone_is_answered,
        "the next payment is refused",
        (
            Edit(
                account_sagas.ChangeSteps,
                "_held",
                "if known.acknowledged >= saga.data.version:",
                "if saga.data.kind is not Kind.OPEN:",
            ),
        ),
    ),
]

BUGS = [*KEYS, *DECISIONS, *RULES, *COMMITS, *ON_THE_WAY, *AT_THE_EDGES]
