"""What must be true of the ledger's book, whoever wrote it and however."""

from cbs.ledger.invariants.asked import ASKED, LEDGER, answered_otherwise, booked_otherwise
from cbs.ledger.invariants.told import POSTED, terms_otherwise, told_otherwise
from cbs.platform.coverage import Columns, seen, unseen
from cbs.platform.invariants import Check, query

CURRENCY_SUMS = """
    SELECT currency, sum(amount_minor) AS sum_minor
    FROM posting GROUP BY currency HAVING sum(amount_minor) <> 0"""
TRANSACTION_SUMS = """
    SELECT transaction_id, sum(amount_minor) AS sum_minor
    FROM posting GROUP BY transaction_id HAVING sum(amount_minor) <> 0"""
LEGS = """
    SELECT transaction.id AS transaction_id, count(transaction_id) AS legs
    FROM transaction LEFT JOIN posting ON transaction_id = transaction.id
    GROUP BY transaction.id HAVING count(transaction_id) < 2"""
ORPHANS = """
    SELECT account, seq, transaction_id FROM posting
    WHERE NOT EXISTS (SELECT FROM transaction WHERE transaction.id = transaction_id)
        OR NOT EXISTS (SELECT FROM account WHERE number = account)"""
CURRENCIES = """
    SELECT account, seq, transaction_id, posting.currency,
        transaction.currency AS of_transaction, account.currency AS of_account
    FROM posting JOIN transaction ON transaction.id = transaction_id
        JOIN account ON number = account
    WHERE posting.currency <> transaction.currency OR posting.currency <> account.currency"""
ALIKE = """
    SELECT account, seq, transaction_id, kind, limited, posting.booked_on, posting.value_on,
        transaction.booked_on AS transaction_booked_on, transaction.value_on AS transaction_value_on
    FROM posting JOIN transaction ON transaction.id = transaction_id
    WHERE (posting.booked_on, posting.value_on)
        IS DISTINCT FROM (transaction.booked_on, transaction.value_on)
        OR posting.value_on > posting.booked_on
        OR limited IS DISTINCT FROM (kind IN ('transfer', 'cash-withdrawal'))"""
BALANCES = """
    SELECT number, balance_minor, coalesce(total.amount_minor, 0) AS sum_of_postings_minor,
        account.postings, coalesce(total.postings, 0) AS count_of_postings
    FROM account LEFT JOIN (
        SELECT account, sum(amount_minor) AS amount_minor, count(*) AS postings
        FROM posting GROUP BY account
    ) AS total ON total.account = number
    WHERE (balance_minor, account.postings)
        IS DISTINCT FROM (coalesce(total.amount_minor, 0), coalesce(total.postings, 0))"""
CHAINS = """
    SELECT account, seq, due_seq, balance_after_minor, running_minor FROM (
        SELECT account, seq, balance_after_minor, row_number() OVER history AS due_seq,
            sum(amount_minor) OVER history AS running_minor
        FROM posting WINDOW history AS (PARTITION BY account ORDER BY seq)
    ) AS line
    WHERE seq <> due_seq OR balance_after_minor <> running_minor"""
BOUNDS = """
    SELECT number, balance_minor, floor_minor, ceiling_minor FROM account
    WHERE balance_minor < floor_minor OR balance_minor > ceiling_minor"""
CLOSED = "SELECT number, balance_minor FROM account WHERE closed AND balance_minor <> 0"
# A day's count begins with the first posting booked on it; should the clock go back after that,
# what is booked before midnight counts to the later day. What a wrong clock booked in the future
# counts to no day (`cbs outdated`).
DEBITED = """
    SELECT number, debited_on, last_booked_on, debited_minor, limited_debits_minor
    FROM account LEFT JOIN (
        SELECT account, max(last_booked_on) AS last_booked_on,
            coalesce(sum(-amount_minor) FILTER (
                WHERE limited AND amount_minor < 0 AND seq >= first_seq), 0) AS limited_debits_minor
        FROM (
            SELECT posting.account, seq, amount_minor, limited, last_booked_on,
                min(seq) FILTER (WHERE booked_on = last_booked_on)
                    OVER (PARTITION BY posting.account) AS first_seq
            FROM posting JOIN (
                SELECT account, max(booked_on) AS last_booked_on FROM posting
                WHERE booked_on <= CURRENT_DATE + 1 GROUP BY account
            ) AS last ON last.account = posting.account
            WHERE booked_on <= CURRENT_DATE + 1
        ) AS line GROUP BY account
    ) AS day ON account = number
    WHERE debited_on IS DISTINCT FROM last_booked_on
        OR debited_minor <> coalesce(limited_debits_minor, 0)"""
TOLD = r"""
    SELECT transaction.id AS transaction_id, told.transaction_id AS told_transaction_id, positions
    FROM transaction FULL JOIN (
        SELECT substring(encode(body, 'escape')
                from '"transaction_id":"([0-9a-f-]{36})"')::uuid AS transaction_id,
            array_agg(position) AS positions
        FROM outbox WHERE subject = $1 GROUP BY 1
    ) AS told ON told.transaction_id = transaction.id
    WHERE told.transaction_id IS NULL OR transaction.id IS NULL OR cardinality(positions) <> 1"""

CHECKS = (
    query(LEDGER, "currency-sums", "postings sum to zero in every currency", CURRENCY_SUMS),
    query(LEDGER, "transaction-sums", "each transaction's legs sum to zero", TRANSACTION_SUMS),
    query(LEDGER, "transaction-legs", "a transaction has two legs or more", LEGS),
    query(LEDGER, "posting-owners", "a posting has its transaction and its account", ORPHANS),
    query(LEDGER, "one-currency", "legs, transaction and accounts share a currency", CURRENCIES),
    query(
        LEDGER, "legs-alike", "legs have their transaction's dates, and its kind's limits", ALIKE
    ),
    query(LEDGER, "balances", "a balance is the sum of its postings", BALANCES),
    query(LEDGER, "chains", "an account's postings follow each other without a gap", CHAINS),
    query(LEDGER, "bounds", "no balance is below its floor or above its ceiling", BOUNDS),
    query(LEDGER, "closed-at-zero", "a closed account holds nothing", CLOSED),
    query(LEDGER, "debited-today", "what counts to a day's limit is what was debited", DEBITED),
    query(
        LEDGER, "asked-once", "each transaction answers one request, and each answer has one", ASKED
    ),
    Check(
        service=LEDGER,
        name="booked-as-asked",
        promise="a transaction is what its request asked for: accounts, amounts, text, value date",
        find=booked_otherwise,
    ),
    Check(
        service=LEDGER,
        name="answered-as-booked",
        promise="a kept answer is what the book says of its transaction",
        find=answered_otherwise,
    ),
    query(
        LEDGER,
        "told-once",
        "each transaction is told in one fact, and each fact has one",
        TOLD,
        POSTED,
    ),
    Check(
        service=LEDGER,
        name="told-as-booked",
        promise="a fact tells what is in the book, who did it, and under which key",
        find=told_otherwise,
    ),
    Check(
        service=LEDGER,
        name="terms-told",
        promise="an account is on the terms that were told last",
        find=terms_otherwise,
    ),
)

A_POSTING = "status = 201 AND encode(body, 'escape') LIKE '{\"transaction\":%'"
A_REFUSAL = "status >= 400"
COVERAGE: tuple[Columns, ...] = (
    seen(
        "account",
        "number kind currency floor_minor ceiling_minor limit_per_transaction_minor"
        " limit_per_day_minor debit_blocked credit_blocked closed version",
        by="terms-told",
    ),
    seen("account", "balance_minor postings", by="balances"),
    seen("account", "debited_on debited_minor", by="debited-today"),
    seen("transaction", "id", by="told-once"),
    seen(
        "transaction",
        "kind currency booked_on value_on booked_at narrative actor",
        by="told-as-booked",
    ),
    seen(
        "posting",
        "account seq transaction_id leg amount_minor balance_after_minor",
        by="told-as-booked",
    ),
    seen("posting", "currency", by="one-currency"),
    seen("posting", "booked_on value_on limited", by="legs-alike"),
    seen("request", "principal key", by="told-as-booked", where=A_POSTING),
    seen("request", "fingerprint", by="booked-as-asked", where=A_POSTING),
    seen(
        "request",
        "status body asked_at answered_at",
        by="answered-as-booked requests-whole",
        where=A_POSTING,
    ),
    seen("request", "status", by="requests-whole", where=A_REFUSAL),
    unseen(
        "request",
        "principal key fingerprint body asked_at answered_at",
        where=A_REFUSAL,
        because="a refusal changes nothing, and the ledger's batches tell only what changes",
    ),
)
