"""Changes that a developer might make, planted in the bank's own code, and what each must get.

Changes of different services share a commit, so that one bank serves them all: each is asked about
by itself, and must be told of itself alone.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass

from cbs.bank import SERVICES
from cbs.platform.declaration import declaration_of
from cbs.tools.release.gate.history import PACTS
from cbs.tools.release.layout import SOURCES
from tests.gate.clone import Clone

NO, UNKNOWN, YES = ("no", 1), ("unknown", 3), ("yes", 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """`says`: in one reason of this answer, all of them. A no must have no other reason."""

    what: str
    application: str
    at: str
    to: str = "prod"
    runs: bool = False
    gets: tuple[str, int]
    says: tuple[str, ...] = ()


ROWS = [
    Row(
        what="a consumer reads a field that nobody sends",
        application="partner",
        at="consumers",
        gets=NO,
        says=("breaks partner@", "payments@", "a transfer:", "fee_minor"),
    ),
    Row(
        what="a provider renames a field",
        application="accounts",
        at="one",
        gets=NO,
        says=("accounts@", "breaks partner@", "the balance of an account", "balance_minor"),
    ),
    Row(
        what="a provider drops a field",
        application="payments",
        at="two",
        gets=NO,
        says=("payments@", "breaks partner@", "a transfer:", "currency"),
    ),
    Row(
        what="a provider narrows a type",
        application="ledger",
        at="two",
        gets=NO,
        says=("ledger@", "breaks accounts@", "the history of an account", "data"),
    ),
    Row(
        what="a provider changes a status code",
        application="payments",
        at="one",
        gets=NO,
        says=("payments@", "breaks cbs-cli@", "a deposit", "expected 201 but was 200"),
    ),
    Row(
        what="a provider changes a subject",
        application="ledger",
        at="one",
        gets=NO,
        says=("ledger@", "breaks audit@", "nothing was published", "events.account-set"),
    ),
    Row(
        what="a provider changes an error type",
        application="customers",
        at="one",
        gets=NO,
        says=("customers@", "breaks accounts@", "the standing of nobody", "no-such-customer"),
    ),
    Row(
        what="an event loses a field that only one deployed older consumer reads",
        application="ledger",
        at="three",
        gets=NO,
        says=("ledger@", "breaks payments@{base}", "the fact transaction-posted", "narrative"),
    ),
    Row(
        what="the same event, when that consumer is gone",
        application="ledger",
        at="three",
        to="pilot",
        gets=YES,
        says=("the pact of payments@{tolerant} with ledger@{three} holds",),
    ),
    Row(
        what="a new request field that must be there",
        application="customers",
        at="three",
        gets=NO,
        says=("customers@", "breaks accounts@", "the standing of a customer", "data"),
    ),
    Row(
        what="a new request field that may be there",
        application="accounts",
        at="two",
        gets=YES,
        says=("the pact of partner@{base} with accounts@{two} holds",),
    ),
    Row(
        what="a provider state that fails",
        application="cbs-cli",
        at="consumers",
        runs=True,
        gets=NO,
        says=("breaks cbs-cli@", "post a transaction of long ago", "could not be brought about"),
    ),
    Row(
        what="a verifier that says yes to everything",
        application="payments",
        at="liar",
        runs=True,
        gets=NO,
        says=("payments@", "breaks cbs-cli@", "a deposit", "expected 201 but was 200"),
    ),
    Row(
        what="a pact that was edited by hand",
        application="partner",
        at="forged",
        runs=True,
        gets=NO,
        says=("contracts/pacts/partner-payments.json of partner@{forged} is not what its code",),
    ),
    Row(
        what="a client that reads a new field with its pact left as it was",
        application="payments",
        at="forged",
        runs=True,
        gets=NO,
        says=("contracts/pacts/payments-ledger.json of payments@{forged} is not what its code",),
    ),
    Row(
        what="a gateway that drops a route",
        application="gateway",
        at="edge",
        runs=True,
        gets=NO,
        says=("gateway@{edge} breaks partner@{base}", "the balance of an account", "404"),
    ),
    Row(
        what="a gateway that takes the key of a request away",
        application="gateway",
        at="edge",
        runs=True,
        gets=NO,
        says=("gateway@{edge} breaks partner@{base}", "a transfer", "expected 201 but was 400"),
    ),
    Row(
        what="a provider state that is new",
        application="partner",
        at="liar",
        runs=True,
        gets=YES,
        says=("the pact of partner@{liar} with accounts@{base} holds",),
    ),
    Row(
        what="a pact with no interactions",
        application="partner",
        at="empty",
        gets=UNKNOWN,
        says=("the pact of partner@", "accounts@", "no interactions: it promises nothing"),
    ),
    Row(
        what="a version that was never verified",
        application="payments",
        at="tolerant",
        gets=UNKNOWN,
        says=("cbs-cli@", "with payments@{tolerant} was never verified"),
    ),
    Row(
        what="a counterpart that is not deployed",
        application="accounts",
        at="base",
        to="fresh",
        gets=NO,
        says=("accounts@", "asks ledger, and no ledger is deployed to fresh"),
    ),
    Row(
        what="a contract migration too early",
        application="customers",
        at="two",
        gets=NO,
        says=(
            "customers_0009_less.py",
            "customers@{base}",
            "customer.risk_reason",
            "store/customers.py",
        ),
    ),
    *(
        Row(
            what=f"columns and a table more of {service}",
            application=service,
            at="expanded",
            gets=YES,
            says=(f"with {service}@{{base}} over the schema of {{expanded}} holds",),
        )
        for service in SERVICES
    ),
    Row(
        what="amounts in major units, where minor ones were",
        application="payments",
        at="three",
        gets=NO,
        says=("payments@{three} breaks partner@{base}", "amount_minor"),
    ),
    Row(
        what="a fact that is told and not declared",
        application="accounts",
        at="undeclared",
        runs=True,
        gets=NO,
        says=("accounts@{undeclared} was not verified", "publishes", "account-made"),
    ),
    Row(
        what="a value that a deployed reader does not know",
        application="ledger",
        at="unseen",
        gets=NO,
        says=("SGD can come to payments@{base}",),
    ),
    Row(
        what="a query parameter with another name",
        application="payments",
        at="unseen",
        gets=NO,
        says=("partner@{base}", "sends account"),
    ),
    Row(
        what="a column that is used, and somebody says that it is not",
        application="customers",
        at="contracting",
        gets=NO,
        says=("customers_0009_planted.py", "customer.risk_reason"),
    ),
    Row(
        what="what an ON CONFLICT needs is not unique any more",
        application="ledger",
        at="contracting",
        gets=NO,
        says=("ledger_0009_planted.py", "posting_of_transaction was unique"),
    ),
    Row(
        what="a new column with a check on another",
        application="audit",
        at="contracting",
        gets=NO,
        says=("audit_0009_planted.py", "audit_entry"),
    ),
    Row(
        what="a new column that must be filled",
        application="payments",
        at="contracting",
        gets=NO,
        says=("payments_0009_planted.py", "transfer.planted"),
    ),
    Row(
        what="a column with another name",
        application="accounts",
        at="contracting",
        gets=NO,
        says=("accounts_0009_planted.py", "product.name"),
    ),
    Row(
        what="a migration that was rewritten after it had run",
        application="customers",
        at="rewritten",
        gets=NO,
        says=("customers_0001_first.py is not as customers@{base} has it",),
    ),
    Row(
        what="a migration that was taken away after it had run",
        application="accounts",
        at="rewritten",
        gets=NO,
        says=("accounts_0002_saga.py", "was taken away in"),
    ),
    Row(
        what="a column of another type",
        application="ledger",
        at="rewritten",
        gets=NO,
        says=("ledger_0009_planted.py", "account.number"),
    ),
    Row(
        what="a right that the running version needs",
        application="payments",
        at="rewritten",
        gets=NO,
        says=("payments_0009_planted.py", "transfer"),
    ),
    Row(
        what="rows that are gone",
        application="audit",
        at="rewritten",
        gets=NO,
        says=("audit_0009_planted.py", "audit_entry"),
    ),
    *(
        Row(
            what=f"a comment more in {service}",
            application=service,
            at="commented",
            gets=YES,
            says=(f"the pact of cbs-cli@{{base}} with {service}@{{commented}} holds",),
        )
        for service in SERVICES
    ),
    Row(
        what="a migration that trips the version that still runs",
        application="customers",
        at="tripped",
        runs=True,
        gets=NO,
        says=("customers@{base} over the schema of {tripped} breaks accounts@{base}",),
    ),
]


def consumers(clone: Clone) -> None:
    partner, cli = "tools/release/pacts/partner.py", "tools/release/pacts/cli.py"
    clone.edit(
        partner, "    currency: str\n    booked_at: str", "    fee_minor: int\n    booked_at: str"
    )
    clone.edit(
        partner,
        '"currency": "INR",\n        "booked_at": instant(),',
        '"fee_minor": 0,\n        "booked_at": instant(),',
    )
    clone.edit(cli, '"balance_minor": 0}),', '"balance_minor": 0, "currency": "Rs"}),')
    clone.write_pacts()


def one(clone: Clone) -> None:
    clone.edit(
        "accounts/http/shapes.py",
        "    balance_minor: int | None = None",
        "    balance: int | None = None",
    )
    clone.edit("accounts/http/accounts.py", "each.balance_minor =", "each.balance =")
    created = "status_code={},\n        media_type"
    clone.edit("payments/http.py", created.format(201), created.format(200))
    # A renamed class changes no published name: what is said is changed, and what is declared.
    for file in ("ledger/service.py", "ledger/domain/account.py"):
        clone.edit(file, '"account-set"', '"account-changed"')
    refusals = "customers/domain/customer.py"
    clone.edit(refusals, 'code = "no-such-customer"', 'code = "customer-unknown"')


def two(clone: Clone) -> None:
    transfer, store = "payments/domain/transfer.py", "payments/store.py"
    clone.edit(transfer, "    currency: Currency\n    narrative: str\n", "    narrative: str\n")
    for who in ("self.", ""):
        clone.edit("payments/clients.py", f"            currency={who}currency,\n", "")
    clone.edit(store, '        currency=Currency(row["currency"]),\n', "")
    clone.edit(store, "[each.currency for each", '["INR" for each')
    limits = "HISTORY_MAX, NARRATIVE_CHARACTERS_MAX = 200, {}, 140"
    clone.edit("ledger/bus/endpoints.py", limits.format(200), limits.format(25))
    clone.edit(
        "accounts/http/shapes.py",
        "    branch: Branch = 1\n",
        '    branch: Branch = 1\n    purpose: Annotated[str, msgspec.Meta(max_length=35)] = ""\n',
    )
    _contracts_too_early(clone)


MIGRATION = """from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from cbs.platform.migrations import sql_migration

ID = "customers_0009_less"
VERSION = "1.38.0"
DESCRIPTION = "No reason for a rating"
SCRIPT = "ALTER TABLE customer DROP COLUMN risk_reason"


async def forwards() -> MigrationManager:
    return sql_migration(service="customers", id=ID, description=DESCRIPTION, script=SCRIPT)
"""


def _contracts_too_early(clone: Clone) -> None:
    """This version works without the column; the deployed one, which runs beside it, does not."""
    store = "customers/store/customers.py"
    clone.edit(store, "        risk_reason=rating.reason,\n", "")
    clone.edit(store, "reason=row.risk_reason, by=", "reason=None, by=")
    clone.edit("customers/tables.py", "    risk_reason = Text(null=True)\n", "")
    folder = clone.root / SOURCES / "customers" / "migrations"
    (folder / "customers_0009_less.py").write_text(MIGRATION)


EXPANDS = "ALTER TABLE {table} ADD COLUMN planted text, ADD COLUMN planted_no int DEFAULT 7;\n"
TABLE = "CREATE TABLE planted (one bigint PRIMARY KEY);"
# Somebody is sure that what the version that runs writes would do, too.
TRIPS = """
CREATE FUNCTION planted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.search_name <> upper(NEW.search_name) THEN
        RAISE EXCEPTION 'not in capitals';
    END IF;
    RETURN NEW;
END $$;
-- expand: it only looks
CREATE TRIGGER planted BEFORE INSERT ON customer FOR EACH ROW EXECUTE FUNCTION planted();
"""


CONTRACTS = {
    "customers": "-- expand: nobody reads it\nALTER TABLE customer DROP COLUMN risk_reason;",
    "accounts": "ALTER TABLE product RENAME COLUMN name TO title;",
    "ledger": "DROP INDEX posting_of_transaction;",
    "payments": "ALTER TABLE transfer ADD COLUMN planted text NOT NULL;",
    "audit": "ALTER TABLE audit_entry ADD COLUMN planted text CHECK (length(actor) < 20);",
}


def _migrates(clone: Clone, service: str, script: str) -> None:
    folder = clone.root / SOURCES / service / "migrations"
    name = f"{service}_0009_planted"
    text = MIGRATION.replace("customers_0009_less", name).replace('"customers"', f'"{service}"')
    script = script.replace('"', "'")
    (folder / f"{name}.py").write_text(
        text.replace('"ALTER TABLE customer DROP COLUMN risk_reason"', f'"""{script}"""')
    )


def expanded(clone: Clone) -> None:
    """Every table that a service keeps has columns more, and each service a table more."""
    for service in SERVICES:
        tables = declaration_of(service).keeps
        _migrates(clone, service, "".join(EXPANDS.format(table=each) for each in tables) + TABLE)


def undeclared(clone: Clone) -> None:
    clone.edit("accounts/domain/facts.py", '"account-opened"', '"account-made"')


def contracting(clone: Clone) -> None:
    for service, script in CONTRACTS.items():
        _migrates(clone, service, script)


def rewritten(clone: Clone) -> None:
    first = "customers/migrations/customers_0001_first.py"
    clone.edit(first, "date_of_birth date NOT", "born date NOT")
    (clone.root / SOURCES / "accounts" / "migrations" / "accounts_0002_saga.py").unlink()
    narrower = "ALTER TABLE account ALTER COLUMN number TYPE varchar(10);"
    _migrates(clone, "ledger", narrower)
    _migrates(clone, "payments", "REVOKE INSERT ON transfer FROM cbs_payments;")
    _migrates(clone, "audit", "DELETE FROM audit_entry;")


def unseen(clone: Clone) -> None:
    """No example of a pact shows it; documents and pacts are as the code writes them."""
    clone.edit("kernel/money.py", '    USD = "USD"\n', '    USD = "USD"\n    SGD = "SGD"\n')
    clone.edit("payments/http.py", 'name="account",', 'name="number",')
    done = clone.cbs("contracts", "write")
    assert done.returncode == 0, done.stderr


def commented(clone: Clone) -> None:
    for service in SERVICES:
        main = clone.root / SOURCES / service / "main.py"
        main.write_text("# Nobody reads this.\n" + main.read_text())


def tripped(clone: Clone) -> None:
    store = "customers/store/customers.py"
    for each in ("searchable(name)", "searchable(person.name)"):
        clone.edit(store, each, f"{each}.upper()")
    _migrates(clone, "customers", TRIPS)


def three(clone: Clone) -> None:
    ledger = "ledger/domain/transaction.py"
    legs = "            legs=self.legs,\n"
    clone.edit(ledger, f"            narrative=self.narrative,\n{legs}", legs)
    legs = "    legs: Sequence[PostedLeg]\n    key: str\n"
    clone.edit(ledger, f"    narrative: str\n{legs}", legs)
    # Of what it answers alone: what it asks of the ledger is in minor units.
    clone.edit(
        "payments/http.py",
        "return _encode(transfer)",
        "return _encode(replace(transfer, amount_minor=transfer.amount_minor // 100))",
    )
    uuid = "from uuid import UUID\n"
    clone.edit("payments/http.py", uuid, f"from dataclasses import replace\n{uuid}")
    clone.edit(
        "customers/bus.py",
        "    customer_id: UUID\n\n\nclass Standing(",
        "    customer_id: UUID\n    purpose: str\n\n\nclass Standing(",
    )


def tolerant(clone: Clone) -> None:
    """A consumer that has stopped to read what the event will lose."""
    clone.edit(
        "payments/consumer.py",
        "    transaction_id: UUID\n",
        '    transaction_id: UUID\n    narrative: str = ""\n',
    )
    clone.edit(
        "tools/release/pacts/payments.py",
        'data={"transaction_id": some_id(), **_movement(Kind.TRANSFER, *_pair(30))},',
        'data={"transaction_id": some_id()}\n'
        "        | {k: v for k, v in _movement(Kind.TRANSFER, *_pair(30)).items()"
        ' if k != "narrative"},',
    )
    clone.write_pacts()


NEW_STATE = """

@state("a customer as the candidate has one")
def _of_the_candidate(world: BankUnderTest, _provider: str, _params: Params) -> Values:
    return {"customer_id": verified(world)["id"]}
"""


def liar(clone: Clone) -> None:
    """Its own verifier lets everything through, and it brings a state that no other has."""
    place = "tools/release/provider_verification"
    clone.edit(f"{place}/verification.py", 'held=each["result"] == "OK"', "held=True")
    created = "status_code={},\n        media_type"
    clone.edit("payments/http.py", created.format(201), created.format(200))
    states = clone.root / SOURCES / place / "provider_states" / "customers.py"
    states.write_text(states.read_text() + NEW_STATE)
    wanted = 'given=[State("{}", makes={{"customer_id": SOME_ID}})],\n    )\n    path ='
    clone.edit(
        "tools/release/pacts/partner.py",
        wanted.format("a customer"),
        wanted.format("a customer as the candidate has one"),
    )
    clone.write_pacts()


def edge(clone: Clone) -> None:
    envoy = "gateway/envoy.py"
    routes = "for service in SERVICES for route in _routes(service)"
    clone.edit(envoy, routes, routes.replace(" for route", ' if service != "accounts" for route'))
    clone.edit(
        envoy,
        '            "name": "public",\n            #',
        '            "name": "public",\n'
        '            "request_headers_to_remove": ["idempotency-key"],\n            #',
    )


def forged(clone: Clone) -> None:
    file = clone.root / PACTS / "partner-payments.json"
    file.write_text(file.read_text().replace('"narrative": "rent"', '"narrative": "hire"'))
    clone.edit(
        "payments/clients.py",
        "class Leg(msgspec.Struct, kw_only=True):\n    account: str\n",
        "class Leg(msgspec.Struct, kw_only=True):\n    account: str\n    seq: int = 0\n",
    )
    pacts = "tools/release/pacts/payments.py"
    clone.edit(pacts, '"amount_minor": minor}', '"amount_minor": minor, "seq": match.int(1)}')


def empty(clone: Clone) -> None:
    file = clone.root / PACTS / "partner-accounts.json"
    document = json.loads(file.read_text())
    document["interactions"] = []
    file.write_text(json.dumps(document))


CHANGES: dict[str, Callable[[Clone], None]] = {
    change.__name__: change
    for change in (
        consumers,
        one,
        two,
        three,
        tolerant,
        liar,
        edge,
        forged,
        empty,
        expanded,
        undeclared,
        contracting,
        rewritten,
        unseen,
        commented,
        tripped,
    )
}
