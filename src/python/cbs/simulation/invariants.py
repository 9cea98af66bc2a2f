"""What must be true of the bank at every step, and what must be true of it at rest."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from cbs.bank import SERVICES
from cbs.kernel.merkle import Tree, leaf_hash
from cbs.simulation.bank import MAINS, TELLER, Bank
from cbs.simulation.callers import Asked
from cbs.simulation.tables import Row, Tables


class Violated(AssertionError):
    """The bank broke a promise; the message says which."""


def check(promise: str, holds: bool, *evidence: object) -> None:
    if not holds:
        raise Violated(f"{promise}: {', '.join(repr(each)[:300] for each in evidence)}")


def after_commit(name: str, tables: Tables) -> None:
    """Cheap: after every commit of this service."""
    [head] = tables.all("outbox_head")
    check("positions have no gap", head["position"] == tables.count("outbox"), name, head)
    if name == "ledger":
        total = sum(account["balance_minor"] for account in tables.all("account"))
        check("money is never made or lost", total == 0, total)


def when_answered(bank: Bank, asked: Asked) -> None:
    """What is acknowledged is durable: committed, with the answer that was given."""
    service = "ledger" if asked.service == "payments" else asked.service
    key = f"payments/{asked.key}" if asked.service == "payments" else asked.key
    tables = bank.servers[service].tables
    row = tables.row("request", ("principal", "key"), (TELLER.id, key))
    if row is None and not asked.accepted and asked.status != 404:
        return  # refused for its form: nothing is kept of that
    check("acknowledged means durable", row is not None, asked)
    assert row is not None
    check("acknowledged means committed", not tables.pending("request", row), asked)
    check("the answer kept is the one given", row["status"] == asked.status, row, asked)


def at_rest(bank: Bank, asked: Sequence[Asked]) -> None:
    tables = {name: bank.servers[name].tables for name in SERVICES}
    for each in asked:
        check("every request is answered in the end", each.status != 0, each)
        when_answered(bank, each)
    _book(tables["ledger"])
    _payments(tables, [each for each in asked if each.service == "payments"])
    _accounts(tables, [each for each in asked if each.service == "accounts"])
    registered = [e for e in asked if e.path == "/v1/customers" and e.accepted]
    check(
        "a registration makes one customer",
        {str(row["id"]) for row in tables["customers"].all("customer")}
        == {each.said()["id"] for each in registered}
        and tables["customers"].count("customer") == len(registered),
        len(registered),
    )
    _audit(tables)
    _frozen(tables["ledger"], asked, bank)


def _book(ledger: Tables) -> None:
    lines: dict[str, list[Row]] = {}
    for row in ledger.all("posting"):
        lines.setdefault(row["account"], []).append(row)
    for account in ledger.all("account"):
        mine = sorted(lines.get(account["number"], []), key=lambda row: row["seq"])
        balance = 0
        for seq, row in enumerate(mine, 1):
            balance += row["amount_minor"]
            check("postings are numbered without a gap", row["seq"] == seq, row)
            check("a line says the balance", row["balance_after_minor"] == balance, row)
        check("a balance is its postings", account["balance_minor"] == balance, account)
        check("postings are counted", account["postings"] == len(mine), account)


def _payments(tables: dict[str, Tables], asked: Sequence[Asked]) -> None:
    posted = {str(row["id"]): row for row in tables["ledger"].all("transaction")}
    accepted = [each for each in asked if each.accepted]
    said = Counter(each.said()["id"] for each in accepted)
    check("an accepted payment has one effect", set(said) == set(posted), set(said) ^ set(posted))
    check("two payments are two", not said or max(said.values()) == 1, said.most_common(1))
    for each in accepted:
        wanted, transfer = msgspec.json.decode(each.body), each.said()
        check(
            "what is posted is what was wanted",
            wanted["amount_minor"] == transfer["amount_minor"],
            each,
        )
    listed = {str(row["id"]): row for row in tables["payments"].all("transfer")}
    check("the list of payments is the ledger's", set(listed) == set(posted), len(listed))
    amounts = {
        str(row["transaction_id"]): row["amount_minor"]
        for row in tables["ledger"].all("posting")
        if row["amount_minor"] > 0
    }
    for id, row in listed.items():
        check("the list says the amount", row["amount_minor"] == amounts[id], row)


def _accounts(tables: dict[str, Tables], asked: Sequence[Asked]) -> None:
    known = tables["accounts"].all("account")
    opened = [each for each in asked if each.path == "/v1/accounts" and each.accepted]
    living = {row["number"]: row for row in known if row["state"] != "refused"}
    check(
        "an opening opens one account",
        set(living) == {each.said()["number"] for each in opened} and len(opened) == len(living),
        len(opened),
    )
    held = {r["number"]: r for r in tables["ledger"].all("account") if r["kind"] == "customer"}
    check("the ledger holds the accounts", set(held) == set(living), set(held) ^ set(living))
    for number, row in living.items():
        there = held[number]
        check("nothing is under way", row["acknowledged"] == row["version"], row)
        check("the ledger holds the terms", there["version"] == row["version"], there, row)
        frozen = row["frozen"]
        blocked = (frozen is not None, frozen == "all", row["state"] == "closed")
        told = (there["debit_blocked"], there["credit_blocked"], there["closed"])
        check("the ledger holds the state", blocked == told, there, row)
    for saga in tables["accounts"].all("saga"):
        check("sagas are finished", saga["step"] == "done", saga)
    facts = Counter(row["subject"].rpartition(".")[2] for row in tables["accounts"].all("outbox"))
    done = [e for e in asked if e.accepted]
    names = {
        "account-opened": "/v1/accounts",
        "account-frozen": "/freeze",
        "account-unfrozen": "/unfreeze",
        "account-closed": "/close",
    }
    for fact, path in names.items():
        accepted = sum(each.path.endswith(path) for each in done)
        check("an accepted change is told once", facts[fact] == accepted, fact, facts, accepted)


def _audit(tables: dict[str, Tables]) -> None:
    told = {
        (name, row["position"]): row["body"]
        for name in SERVICES
        for row in tables[name].all("outbox")
    }
    entries = sorted(tables["audit"].all("audit_entry"), key=lambda row: row["index"])
    kept = {(row["source"], row["position"]): row["body"] for row in entries}
    check(
        "audit has every fact once",
        len(entries) == len(kept) and kept == told,
        len(entries),
        len(told),
    )
    check("the log has no gap", [r["index"] for r in entries] == list(range(len(entries))))
    tree, _ = Tree().appended(leaf_hash(row["body"]) for row in entries)
    [head] = tables["audit"].all("audit_head")
    check("the log hashes to its head", head["root_hash"] == tree.root, head["tree_size"])


def _frozen(ledger: Tables, asked: Sequence[Asked], bank: Bank) -> None:
    """A freeze holds from its answer until somebody asks for its end."""
    postings: dict[str, list[tuple[Any, Row]]] = {}
    booked = {row["id"]: row["booked_at"] for row in ledger.all("transaction")}
    for row in ledger.all("posting"):
        if row["amount_minor"] < 0:
            at = (booked[row["transaction_id"]] - bank.began).total_seconds()
            postings.setdefault(row["account"], []).append((at, row))
    for freeze in asked:
        if not (freeze.accepted and freeze.path.endswith("/freeze")):
            continue
        ends = [
            each.asked_at
            for each in asked
            if each.about == freeze.about
            and each.path.endswith("/unfreeze")
            and each.answered_at > freeze.asked_at
        ]
        until = min(ends, default=float("inf"))
        for at, row in postings.get(freeze.about, []):
            check(
                "a freeze holds from its answer",
                not freeze.answered_at < at < until,
                freeze,
                row,
                at,
            )


def unsettled(bank: Bank) -> str:
    """What is still on its way; empty when the bank is at rest."""
    for name in SERVICES:
        tables = bank.servers[name].tables
        if name not in bank.services:
            return f"{name} is down"
        [head], [relay] = tables.all("outbox_head"), tables.all("relay")
        if head["position"] != relay["position"]:
            return f"{name} has not published all of its facts"
        if tables.count("dead_letter"):
            raise Violated(f"{name} set a fact aside: {tables.all('dead_letter')[0]['error']}")
        for source in MAINS[name].DECLARATION.hears:
            heard = tables.row("watermark", ("source",), (source,))
            [there] = bank.servers[source].tables.all("outbox_head")
            if (heard["position"] if heard else 0) != there["position"]:
                return f"{name} has not heard all of {source}"
    unfinished = [r for r in bank.servers["accounts"].tables.all("saga") if r["step"] != "done"]
    return f"{len(unfinished)} sagas are not finished" if unfinished else ""
