"""Bugs planted in how the ledger keeps keys and decides."""

from cbs.kernel.refusal import Unavailable
from cbs.ledger.application import book as application
from cbs.ledger.application.book import BatchAborted
from cbs.ledger.domain.account import Account
from cbs.ledger.store import batches, book, write_path
from cbs.ledger.store.write_path import WritePath
from tests.bugs import scenarios
from tests.bugs import test_known_bugs as known_bugs
from tests.bugs.planting import Bug, Edit
from tests.ledger import test_book as in_the_book

UNDONE = "DO NOTHING"
OVERWRITTEN = "(principal, key) DO UPDATE SET status = excluded.status, body = excluded.body"
NO_LOOKING_UP = (
    Edit(batches.PostgresBatches, "kept", 'if row["status"] is not None', "if False"),
    Edit(batches, "CLAIM", UNDONE, OVERWRITTEN),
)


KEYS = [
    Bug(
        "a key is not looked up, and overwritten",
        "book",
        known_bugs.test_midaz_2485_a_request_whose_answer_was_lost_is_applied_once,
        "money moves once",
        NO_LOOKING_UP,
    ),
    Bug(
        "keys do not outlive the process",
        "database",
        known_bugs.test_bank_of_anthos_168_a_replay_is_known_after_a_restart,
        "the first answer is given again",
        NO_LOOKING_UP,
    ),
    Bug(
        "a key is not looked up",
        "book",
        scenarios.a_repeated_request,
        "primary key of request: the batch is undone",
        (Edit(batches.PostgresBatches, "kept", 'if row["status"] is not None', "if False"),),
        BatchAborted,
    ),
    Bug(
        "a key kept meanwhile is overwritten",
        "instances",
        scenarios.one_key_in_two_instances,
        "race: two equal answers",
        (Edit(batches, "CLAIM", UNDONE, OVERWRITTEN),),
    ),
    Bug(
        "a key kept meanwhile is not noticed",
        "instances",
        scenarios.one_key_in_two_instances,
        "race: two equal answers",
        (Edit(WritePath, "_write", "raise _Raced", "pass"),),
    ),
    Bug(
        "the fingerprint is ignored",
        "book",
        in_the_book.test_a_key_with_another_request_is_refused_and_the_first_answer_stays,
        "another request under the key is refused",
        (Edit(write_path, "_answer", "fingerprint == order.fingerprint", "True"),),
    ),
    Bug(
        "a refusal is not kept",
        "book",
        in_the_book.test_a_business_refusal_is_kept_under_its_key,
        "the no is given again when there is money",
        (Edit(WritePath, "_decide", "self.refused(refusal) if refusal.lasting else", ""),),
    ),
]

DECISIONS = [
    Bug(
        "locks are taken in another order",
        "instances",
        scenarios.two_who_pay_each_other,
        "race: the circle would close",
        (Edit(batches, "LOCK", "ORDER BY number", "ORDER BY number DESC"),),
        scenarios.LockNotAvailable,
    ),
    Bug(
        "the floor is checked against a stale balance",
        "instances",
        scenarios.two_withdrawals_at_once,
        "trigger on posting: a posting must follow from its account",
        (Edit(batches, "LOCK", "FOR NO KEY UPDATE", ""),),
    ),
    Bug(
        "an order does not see what the batch did before it",
        "book",
        in_the_book.test_a_batch_is_decided_in_the_order_of_arrival,
        "there and back again in one batch",
        (Edit(WritePath, "_decide", "accounts.update(after)", "pass"),),
    ),
    Bug(
        "the floor is checked before the debit",
        "book",
        scenarios.a_payment_beyond_the_balance,
        "CHECK constraint floor: 503 instead of 409",
        (
            Edit(
                Account,
                "_check_debit",
                "self.balance_minor - minor < least",
                "self.balance_minor < least",
            ),
        ),
    ),
    Bug(
        "the limit of a day counts each transaction alone",
        "book",
        in_the_book.test_the_day_limit_counts_what_was_paid_and_spares_the_bank_itself,
        "the third payment is refused",
        (Edit(Account, "_check_debit", "self.debited_minor_on(on) + minor", "minor"),),
    ),
    Bug(
        "old terms that arrive late are taken",
        "book",
        in_the_book.test_older_terms_change_nothing,
        "the block stays",
        (Edit(Account, "change_terms", "terms.version <= self.terms.version", "False"),),
    ),
    Bug(
        "a balance as of a day leaves that day out",
        "book",
        in_the_book.test_history_is_told_backwards_and_balances_by_value_date,
        "balances before, on and after a day",
        (Edit(book, "BALANCE_ON", "value_on <= $2", "value_on < $2"),),
    ),
    Bug(
        "what is promised is not counted",
        "book",
        known_bugs.test_blnk_181_six_payments_of_1000_on_a_balance_of_5000,
        "CHECK constraint floor: the batch is undone",
        (
            Edit(
                Account,
                "_check_debit",
                "self.balance_minor - minor < least",
                "self.balance_minor < least",
            ),
        ),
        BatchAborted,
    ),
    Bug(
        "two transactions get one id",
        "instances",
        known_bugs.test_formance_364_concurrent_requests_have_ids_and_bodies_of_their_own,
        "primary key of transaction: 503",
        (Edit(WritePath, "_decide", "id=self.new_id()", "id=UUID(int=7)"),),
        Unavailable,
    ),
    Bug(
        "SQL is made of what is asked for",
        "book",
        known_bugs.test_formance_1349_what_is_asked_for_is_never_sql,
        "quotes in a number find nothing",
        (
            Edit(
                book.PostgresBook,
                "balance_on",
                "(BALANCE_ON, number, value_on)",
                """(BALANCE_ON.replace("$1", f"'{number}'").replace("$2", "$1"), value_on)""",
            ),
        ),
    ),
    Bug(
        "what is not there is shown as nothing",
        "ledger",
        known_bugs.test_formance_1416_what_is_not_there_does_not_reconcile_to_zero,
        "404 for an unknown account",
        (
            Edit(
                application.Ledger,
                "account",
                "raise NoSuchAccount(number)",
                'found = await self.book.accounts(["INR-FEES"])',
            ),
        ),
    ),
    Bug(
        "a hot account pays one by one",
        "instances",
        known_bugs.test_fineract_5135_a_hot_account_is_cheaper_not_slower,
        "writes are fewer than postings",
        (
            Edit(
                application.Ledger,
                "_start_batches",
                "min(len(self._waiting), BATCH_ORDERS_MAX)",
                "1",
            ),
        ),
    ),
    Bug(
        "a payment is told twice",
        "book",
        known_bugs.test_bank_of_anthos_329_and_mojaloop_3527_a_payment_is_so_many_rows,
        "rows of a payment are counted",
        (Edit(WritePath, "_write", "each in posted]", "each in posted] * 2"),),
    ),
]
