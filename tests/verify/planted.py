"""Violations to plant in a bank's databases, each with all the checks that must see it."""

from collections.abc import Mapping
from dataclasses import dataclass

import asyncpg

from tests.conftest import Database
from tests.verify.bank import ANN, BOB

CONSTRAINTS = """
    SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname)
    FROM pg_constraint JOIN pg_namespace ON pg_namespace.oid = connamespace
    WHERE nspname = 'public' AND contype = 'c'"""
NOBODY = "99999999-9999-7999-8999-999999999999"

# The first two transfers from ANN to BOB, and the facts that tell the first and the last thing.
TRANSFERS = f"""(
    SELECT transaction_id FROM posting JOIN transaction ON transaction.id = transaction_id
    WHERE account = '{BOB}' AND amount_minor > 0 AND transaction.kind = 'transfer' ORDER BY seq"""
FIRST, SECOND = f"{TRANSFERS} LIMIT 1)", f"{TRANSFERS} OFFSET 1 LIMIT 1)"
HEAD = "(SELECT position FROM outbox_head)"
ONE_ANSWERED = (
    "(SELECT min(key) FROM request"
    " WHERE status = 201 AND encode(body, 'escape') LIKE '{\"transaction\":%')"
)


def replaced(old: str, new: str) -> str:
    return f"convert_to(replace(convert_from(body, 'UTF8'), '{old}', '{new}'), 'UTF8')"


@dataclass(frozen=True)
class Plant:
    """`seen` are the checks, as `<service>/<check>`, that must speak, and no other may."""

    name: str
    service: str
    seen: frozenset[str]
    statements: tuple[str, ...]


def plant(name: str, service: str, seen: str, *statements: str) -> Plant:
    return Plant(name, service, frozenset(seen.split()), statements)


# A fact that is as true as any, but that nobody has heard.
ONE_MORE_FACT = (
    "INSERT INTO outbox SELECT head.position + 1, id, subject, at, convert_to(replace("
    'convert_from(body, \'UTF8\'), \'"position":"1"\', format(\'"position":"%s"\','
    " head.position + 1)), 'UTF8') FROM outbox, outbox_head AS head WHERE outbox.position = 1",
    "UPDATE outbox_head SET position = position + 1",
)

BOOK = [
    plant(
        "money out of nothing",
        "ledger",
        "ledger/answered-as-booked "
        "ledger/currency-sums ledger/transaction-sums ledger/balances ledger/chains"
        " ledger/told-as-booked ledger/booked-as-asked ledger/debited-today",
        f"UPDATE posting SET amount_minor = amount_minor - 7"
        f" WHERE account = '{ANN}' AND transaction_id = {FIRST}",
    ),
    plant(
        "a leg of another transaction",
        "ledger",
        "ledger/answered-as-booked "
        "ledger/transaction-sums ledger/transaction-legs ledger/told-as-booked"
        " ledger/booked-as-asked payments/transfers-listed",
        f"UPDATE posting SET transaction_id = {SECOND}, leg = 9"
        f" WHERE account = '{BOB}' AND transaction_id = {FIRST}",
    ),
    plant(
        "a transaction is gone",
        "ledger",
        "ledger/posting-owners ledger/asked-once ledger/told-once payments/transfers-listed",
        f"DELETE FROM transaction WHERE id = {FIRST}",
    ),
    plant(
        "an account is gone",
        "ledger",
        "ledger/terms-told ledger/posting-owners accounts/terms-held",
        f"DELETE FROM account WHERE number = '{ANN}'",
    ),
    plant(
        "an account changes its currency",
        "ledger",
        "ledger/terms-told ledger/one-currency accounts/terms-held",
        f"UPDATE account SET currency = 'EUR' WHERE number = '{ANN}'",
    ),
    plant(
        "a leg valued on another day",
        "ledger",
        "ledger/legs-alike",
        f"UPDATE posting SET value_on = value_on - 1 WHERE transaction_id = {FIRST} AND leg = 0",
    ),
    plant(
        "a balance without postings",
        "ledger",
        "ledger/balances",
        f"UPDATE account SET balance_minor = balance_minor + 1 WHERE number = '{ANN}'",
    ),
    plant(
        "postings counted wrong",
        "ledger",
        "ledger/balances",
        f"UPDATE account SET postings = postings + 1 WHERE number = '{ANN}'",
    ),
    plant(
        "a balance on the way that never was",
        "ledger",
        "ledger/answered-as-booked ledger/chains ledger/told-as-booked",
        f"UPDATE posting SET balance_after_minor = 1 WHERE account = '{BOB}' AND seq = 2",
    ),
    plant(
        "a gap in an account's history",
        "ledger",
        "ledger/answered-as-booked ledger/chains ledger/told-as-booked",
        f"UPDATE posting SET seq = 99 WHERE account = '{BOB}' AND seq = 4",
    ),
    plant(
        "a balance below its floor",
        "ledger",
        "ledger/terms-told ledger/bounds accounts/terms-held",
        f"UPDATE account SET floor_minor = 99999999 WHERE number = '{ANN}'",
    ),
    plant(
        "a balance above its ceiling",
        "ledger",
        "ledger/terms-told ledger/bounds accounts/terms-held",
        f"UPDATE account SET ceiling_minor = 1 WHERE number = '{ANN}'",
    ),
    plant(
        "closed with money",
        "ledger",
        "ledger/terms-told ledger/closed-at-zero accounts/terms-held",
        f"UPDATE account SET closed = true WHERE number = '{ANN}'",
    ),
    plant(
        "a limit that forgets",
        "ledger",
        "ledger/debited-today",
        f"UPDATE account SET debited_minor = debited_minor - 1 WHERE number = '{ANN}'",
    ),
    plant(
        "a limit of another day",
        "ledger",
        "ledger/debited-today",
        f"UPDATE account SET debited_on = debited_on + 1 WHERE number = '{ANN}'",
    ),
    plant(
        "a transaction nobody asked for",
        "ledger",
        "ledger/told-as-booked ledger/asked-once",
        f"DELETE FROM request WHERE key = {ONE_ANSWERED}",
    ),
    plant(
        "two requests for one transaction",
        "ledger",
        "ledger/asked-once",
        "INSERT INTO request SELECT principal, 'another-key', fingerprint, status, body, asked_at,"
        f" answered_at FROM request WHERE key = {ONE_ANSWERED}",
    ),
    plant(
        "another amount than was asked for, everywhere",
        "ledger",
        "ledger/booked-as-asked",
        f"UPDATE request SET fingerprint = sha256('') WHERE key = {ONE_ANSWERED}",
    ),
    plant(
        "another text than was asked for",
        "ledger",
        "ledger/answered-as-booked ledger/told-as-booked "
        "ledger/booked-as-asked payments/transfers-listed",
        f"UPDATE transaction SET narrative = 'for the boss' WHERE id = {FIRST}",
    ),
    plant(
        "somebody else did it",
        "ledger",
        "ledger/told-as-booked ledger/answered-as-booked",
        f"UPDATE transaction SET actor = 'mallory' WHERE id = {FIRST}",
    ),
    plant(
        "another answer than the book's",
        "ledger",
        "ledger/answered-as-booked",
        f"UPDATE request SET body = {replaced('2026', '2016')} WHERE key = {ONE_ANSWERED}",
    ),
    plant(
        "a limit that nobody told of",
        "ledger",
        "ledger/terms-told",
        "UPDATE account SET floor_minor = -1 WHERE number = 'INR-CLEARING'",
    ),
    plant(
        "an answer without its transaction",
        "ledger",
        "ledger/asked-once",
        "INSERT INTO request SELECT principal, 'another-key', fingerprint, status,"
        f""" convert_to('{{"transaction":{{"id":"{NOBODY}"', 'UTF8'), asked_at, answered_at"""
        f" FROM request WHERE key = {ONE_ANSWERED}",
    ),
    plant(
        "a fact tells another amount",
        "ledger",
        "ledger/told-as-booked audit/audited-ledger",
        f"""UPDATE outbox SET body = {replaced('"amount_minor":2500,', '"amount_minor":2501,')}""",
    ),
    plant(
        "a fact tells of no transaction",
        "ledger",
        "ledger/told-as-booked payments/listed-as-told ledger/told-once audit/audited-ledger",
        "UPDATE outbox SET body = regexp_replace(convert_from(body, 'UTF8'),"
        f""" '"transaction_id":"[^"]*"', '"transaction_id":"{NOBODY}"')::bytea"""
        f" WHERE position = {HEAD} - 1",
    ),
]

PLUMBING = [
    plant(
        "a fact is gone",
        "ledger",
        "ledger/outbox-gapless audit/audited-ledger",
        "DELETE FROM outbox WHERE position = 1",
    ),
    plant(
        "the head is behind",
        "ledger",
        "ledger/outbox-gapless ledger/relay-behind audit/inbox-behind payments/inbox-behind",
        "UPDATE outbox_head SET position = position - 1",
    ),
    plant(
        "a fact gives another position",
        "ledger",
        "ledger/outbox-true audit/audited-ledger",
        f"""UPDATE outbox SET body = {replaced('"position":"1"', '"position":"2"')}""",
    ),
    plant(
        "a fact in the name of another service",
        "ledger",
        "ledger/outbox-true audit/audited-ledger",
        f"UPDATE outbox SET body = {replaced('/cbs/ledger', '/cbs/payments')} WHERE position = 1",
    ),
    plant(
        "a fact goes out under another name",
        "ledger",
        "ledger/outbox-true",
        "UPDATE outbox SET subject = 'cbs.ledger.events.account-frozen' WHERE position = 1",
    ),
    plant(
        "what is no fact",
        "ledger",
        "ledger/outbox-true audit/audited-ledger",
        "UPDATE outbox SET body = '\\x00' WHERE position = 1",
    ),
    plant(
        "published before it was written",
        "ledger",
        "ledger/relay-behind",
        "UPDATE relay SET position = position + 1",
    ),
    plant(
        "heard before it was said",
        "audit",
        "audit/inbox-behind audit/log-whole",
        "UPDATE watermark SET position = position + 1 WHERE source = 'ledger'",
    ),
    plant(
        "a dead letter",
        "audit",
        "audit/dead-letters audit/log-whole",
        "INSERT INTO dead_letter SELECT source, position, body, 'indigestible', now()"
        " FROM audit_entry WHERE source = 'ledger' AND position = 1",
    ),
    plant(
        "a dead letter that was replayed",
        "audit",
        "",
        "INSERT INTO dead_letter SELECT source, position, body, 'indigestible', now(), now()"
        " FROM audit_entry WHERE source = 'ledger' AND position = 1",
    ),
    plant(
        "a dead letter that nobody sent",
        "audit",
        "audit/set-aside-true",
        "INSERT INTO dead_letter VALUES ('ledger', 1, '\\x00', 'indigestible', now(), now())",
    ),
    plant(
        "an answer that was never given",
        "accounts",
        "accounts/answers-told",
        f"UPDATE request SET body = {replaced('INR', 'EUR')} WHERE status = 200",
    ),
    plant(
        "a kept answer is gone",
        "accounts",
        "accounts/answers-told accounts/sagas-answered",
        "DELETE FROM request WHERE ctid IN (SELECT ctid FROM request WHERE status = 200 LIMIT 1)",
    ),
    plant(
        "a saga is to be done again",
        "accounts",
        "accounts/sagas-answered",
        "UPDATE saga SET step = 'change-terms-in-ledger' WHERE kind = 'close'",
    ),
    plant(
        "half an answer",
        "ledger",
        "ledger/requests-whole",
        "UPDATE request SET answered_at = NULL WHERE status = 409",
    ),
    plant(
        "an answer that is never kept",
        "ledger",
        "ledger/requests-whole",
        "UPDATE request SET status = 503 WHERE status = 409",
    ),
    plant(
        "a request that is never finished",
        "ledger",
        "ledger/requests-finished",
        "INSERT INTO request VALUES ('ann', 'old-key', '', NULL, NULL, now() - interval '1 h')",
    ),
    plant(
        "a request that is being worked on",
        "ledger",
        "",
        "INSERT INTO request VALUES ('ann', 'new-key', '', NULL, NULL, now() - interval '1 min')",
    ),
    plant(
        "a fact that was not kept",
        "audit",
        "audit/audited-ledger audit/log-whole",
        "DELETE FROM audit_entry WHERE source = 'ledger' AND position = 3",
    ),
    plant(
        "a fact kept with other bytes",
        "audit",
        "audit/audited-ledger audit/log-whole",
        f"UPDATE audit_entry SET body = {replaced('mallory', 'malory')}"
        " WHERE source = 'ledger' AND position = 1",
    ),
    plant(
        "a tree of other leaves",
        "audit",
        "audit/log-whole",
        "UPDATE audit_head SET root_hash = sha256('')",
    ),
]


ACCOUNTS = [
    plant(
        "an account given to another customer",
        "accounts",
        "accounts/accounts-told",
        f"UPDATE account SET customer_id = '{NOBODY}' WHERE number = '{BOB}'",
    ),
    plant(
        "a court's freeze ends tomorrow",
        "accounts",
        "accounts/freezes-told",
        "UPDATE account_freeze SET until = '2026-01-05' WHERE authority = 'a court'",
    ),
    plant(
        "a suspended customer's accounts are told otherwise",
        "accounts",
        "accounts/holders-standing",
        "UPDATE holder SET standing = 'active'",
    ),
    plant(
        "a product with another limit",
        "accounts",
        "accounts/products-told",
        "UPDATE product SET limit_per_day_minor = 1 WHERE code = 'SAVINGS-INR'",
    ),
    plant(
        "a change that nobody makes",
        "accounts",
        "accounts/under-way",
        f"UPDATE account SET version = version + 1 WHERE number = '{BOB}'",
    ),
    plant(
        "an account the ledger never heard of",
        "accounts",
        "accounts/accounts-told accounts/terms-held",
        f"UPDATE account SET number = '00019999999999' WHERE number = '{BOB}'",
    ),
    plant(
        "a limit the ledger does not hold to",
        "accounts",
        "accounts/accounts-told accounts/terms-held",
        f"UPDATE account SET limit_per_day_minor = 1 WHERE number = '{BOB}'",
    ),
    plant(
        "a freeze the ledger does not hold to",
        "accounts",
        "accounts/accounts-told accounts/terms-held",
        f"UPDATE account SET frozen = 'all' WHERE number = '{BOB}'",
    ),
    plant(
        "an overdraft only the ledger knows",
        "ledger",
        "ledger/terms-told accounts/terms-held",
        f"UPDATE account SET floor_minor = -9999 WHERE number = '{BOB}'",
    ),
    plant(
        "an account only the ledger knows",
        "accounts",
        "accounts/accounts-told accounts/terms-held",
        f"DELETE FROM account WHERE number = '{BOB}'",
    ),
    plant(
        "a version nobody asked for",
        "ledger",
        "ledger/terms-told accounts/terms-held",
        f"UPDATE account SET version = version + 1 WHERE number = '{BOB}'",
    ),
    plant(
        "an acknowledged version that the ledger forgot",
        "ledger",
        "ledger/terms-told accounts/terms-held",
        f"UPDATE account SET version = version - 1 WHERE number = '{ANN}'",
    ),
    plant(
        "an account that was refused",
        "accounts",
        "accounts/accounts-told accounts/under-way accounts/terms-held",
        f"UPDATE account SET state = 'refused' WHERE number = '{BOB}'",
    ),
]
CUSTOMERS = [
    plant(
        "a customer of another name",
        "customers",
        "customers/customers-recorded",
        "UPDATE customer SET given_name = 'Anne' WHERE given_name = 'Ann'",
    ),
    plant(
        "a document that somebody else has verified",
        "customers",
        "customers/customers-recorded",
        "UPDATE document SET decided_by = 'mallory' WHERE decided_by = 'olga'",
    ),
    plant(
        "a sealed number destroyed",
        "customers",
        "customers/customers-recorded",
        "UPDATE document SET sealed = '' WHERE place = 0",
    ),
    plant(
        "a customer is gone",
        "customers",
        "customers/customers-recorded",
        "DELETE FROM customer WHERE given_name = 'Ann'",
    ),
]
FIRST_LISTED = "(SELECT min(position) FROM transfer)"
PAYMENTS = [
    plant(
        "a payment is listed at another's place",
        "payments",
        "payments/listed-as-told",
        "UPDATE transfer SET position = position - 1"
        " WHERE position = (SELECT min(position) FROM transfer)",
    ),
    plant(
        "a payment is not listed",
        "payments",
        "payments/transfers-listed",
        f"DELETE FROM transfer WHERE position = {FIRST_LISTED}",
    ),
    plant(
        "a payment is listed with another amount",
        "payments",
        "payments/transfers-listed",
        f"UPDATE transfer SET amount_minor = amount_minor + 1 WHERE position = {FIRST_LISTED}",
    ),
    plant(
        "a payment is listed that was never posted",
        "payments",
        "payments/listed-as-told payments/transfers-listed",
        f"UPDATE transfer SET id = '{NOBODY}' WHERE position = {FIRST_LISTED}",
    ),
    plant(
        "a payment is listed before it was heard",
        "payments",
        "payments/transfers-listed",
        f"INSERT INTO transfer SELECT '{NOBODY}', 9999, kind, remitter_account,"
        " beneficiary_account, amount_minor, currency, narrative, booked_on, value_on, booked_at"
        f" FROM transfer WHERE position = {FIRST_LISTED}",
    ),
]


async def planted(bank: Mapping[str, Database], service: str, *statements: str) -> None:
    """Do this to the database of a service, with its triggers off and its constraints dropped."""
    admin = await asyncpg.connect(bank[service].admin_url)
    try:
        await admin.execute("SET session_replication_role = replica")
        for row in await admin.fetch(CONSTRAINTS):
            await admin.execute(row[0])
        for statement in statements:
            done = await admin.execute(statement)
            assert not done.endswith(" 0"), f"changed nothing: {statement}"
    finally:
        await admin.close()
