"""What must be true of the bank at every step, and what must be true of it at rest."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from cbs.bank import SERVICES
from cbs.kernel.merkle import Tree, leaf_hash
from cbs.kernel.saga import DONE
from cbs.platform.declaration import declaration_of
from cbs.platform.memory.database import MemoryServer
from cbs.simulation.bank import TELLER, Bank
from cbs.simulation.callers import Asked
from cbs.simulation.restrictions import Violated, check, restrictions_hold

POSTED = ".transaction-posted"

Servers = Mapping[str, MemoryServer]


@dataclass(slots=True, eq=False)
class CommitWatch:
    """What is checked after every commit, and so must be cheap."""

    bank: Bank
    versions: dict[str, int] = field(default_factory=dict)

    def committed(self, name: str) -> None:
        server = self.bank.servers[name]
        head = server.rows("positions").get("head", 0)
        check("positions have no gap", head == len(server.rows("outbox")), name, head)
        requests = server.rows("request")
        for saga in server.rows("saga").values():
            if saga.step == DONE:
                key = saga.requester.principal, saga.requester.key
                check("a saga that is done is answered", requests[key].answer is not None, saga)
        if name == "ledger":
            self._book(server)
        elif name == "accounts":
            self._acknowledged(server)
        elif name == "audit":
            heard = sum(server.rows("watermark").values())
            kept = len(server.rows("audit_entry"))
            check("what was heard is in the log", kept == heard, kept, heard)
        elif name == "payments":
            self._listed(server)

    def _acknowledged(self, accounts: MemoryServer) -> None:
        chart = self.bank.servers["ledger"].rows("account")
        for account in accounts.rows("account").values():
            held = chart[account.number].terms.version if account.number in chart else 0
            check("the ledger holds what it acknowledged", account.acknowledged <= held, account)

    def _listed(self, payments: MemoryServer) -> None:
        told = self.bank.servers["ledger"].rows("outbox")
        heard = payments.rows("watermark").get("ledger", 0)
        subjects = [told[position][1] for position in range(1, heard + 1)]
        posted = sum(subject.endswith(POSTED) for subject in subjects)
        listed = len(payments.rows("transfer"))
        check("what was heard is in the list", listed == posted, listed, posted)

    def _book(self, ledger: MemoryServer) -> None:
        chart = ledger.rows("account").values()
        total = sum(account.balance_minor for account in chart)
        check("money is never made or lost", total == 0, total)
        for account in chart:
            version = account.terms.version
            newer = version >= self.versions.get(account.number, 0)
            check("terms give way to newer ones only", newer, account)
            self.versions[account.number] = version


def when_answered(bank: Bank, asked: Asked) -> None:
    """What is acknowledged is durable: committed, with the answer that was given."""
    service = "ledger" if asked.service == "payments" else asked.service
    key = f"payments/{asked.key}" if asked.service == "payments" else asked.key
    requests = bank.servers[service].table("request")
    kept = requests.get((TELLER.id, key))
    if kept is None and not asked.accepted and asked.status != 404:
        return  # refused for its form: nothing is kept of that
    check("acknowledged means durable", kept is not None, asked)
    assert kept is not None
    committed = not requests.uncommitted((TELLER.id, key))
    check("acknowledged means committed", committed, asked)
    check("the answer kept is the one given", kept.request.status == asked.status, kept, asked)


def at_rest(bank: Bank, asked: Sequence[Asked]) -> None:
    servers = bank.servers
    for each in asked:
        check("every request is answered in the end", each.status != 0, each)
        when_answered(bank, each)
    _book(servers["ledger"])
    _payments(servers, [each for each in asked if each.service == "payments"])
    _accounts(servers, [each for each in asked if each.service == "accounts"])
    registered = [e for e in asked if e.path == "/v1/customers" and e.accepted]
    check(
        "a registration makes one customer",
        sorted(map(str, servers["customers"].rows("customer")))
        == sorted(each.said()["id"] for each in registered),
        len(registered),
    )
    _audit(servers)
    _customers(servers)
    restrictions_hold(servers, asked, bank)


def _book(ledger: MemoryServer) -> None:
    lines: dict[str, list[Any]] = {}
    for (number, _), posting in sorted(ledger.rows("posting").items()):
        lines.setdefault(number, []).append(posting)
    for number, account in ledger.rows("account").items():
        mine, balance = lines.get(number, []), 0
        for seq, posting in enumerate(mine, 1):
            balance += posting.amount_minor
            check("postings are numbered without a gap", posting.seq == seq, posting)
            check("a line says the balance", posting.balance_after_minor == balance, posting)
        check("a balance is its postings", account.balance_minor == balance, account)
        check("postings are counted", account.postings == len(mine), account)


def _payments(servers: Servers, asked: Sequence[Asked]) -> None:
    posted = {str(id) for id in servers["ledger"].rows("transaction")}
    accepted = [each for each in asked if each.accepted]
    said = Counter(each.said()["id"] for each in accepted)
    check("an accepted payment has one effect", set(said) == posted, set(said) ^ posted)
    check("two payments are two", not said or max(said.values()) == 1, said.most_common(1))
    for each in accepted:
        wanted, transfer = msgspec.json.decode(each.body), each.said()
        check(
            "what is posted is what was wanted",
            wanted["amount_minor"] == transfer["amount_minor"],
            each,
        )
    listed = servers["payments"].rows("transfer")
    check("the list of payments is the ledger's", {*map(str, listed)} == posted, len(listed))
    amounts = {
        posting.transaction_id: posting.amount_minor
        for posting in servers["ledger"].rows("posting").values()
        if posting.amount_minor > 0
    }
    for id, each in listed.items():
        check("the list says the amount", each.transfer.amount_minor == amounts[id], each)


def _accounts(servers: Servers, asked: Sequence[Asked]) -> None:
    known = servers["accounts"].rows("account").values()
    opened = [each for each in asked if each.path == "/v1/accounts" and each.accepted]
    living = {account.number: account for account in known if account.state != "refused"}
    check(
        "an opening opens one account",
        set(living) == {each.said()["number"] for each in opened} and len(opened) == len(living),
        len(opened),
    )
    chart = servers["ledger"].rows("account")
    held = {number: account for number, account in chart.items() if account.kind == "customer"}
    check("the ledger holds the accounts", set(held) == set(living), set(held) ^ set(living))
    for number, account in living.items():
        terms = held[number].terms
        check("nothing is under way", account.settled and not account.awaiting_ledger, account)
        check("the ledger holds the terms", terms.version == account.version, terms, account)
        frozen = account.terms.frozen
        blocked = (frozen is not None, frozen == "all", account.state == "closed")
        told = (terms.debit_blocked, terms.credit_blocked, terms.closed)
        check("the ledger holds the state", blocked == told, terms, account)
    suspended = {
        customer.id
        for customer in servers["customers"].rows("customer").values()
        if customer.status == "suspended"
    }
    for account in living.values():
        follows = (account.suspension is not None) == (account.customer_id in suspended)
        ended = account.state == "closed"
        check("an account follows its customer's standing", follows or ended, account)
    # What follows a suspension is nobody's request of accounts.
    facts = Counter(
        subject.rpartition(".")[2]
        for _, subject, body in servers["accounts"].rows("outbox").values()
        if b'"cause":"suspension"' not in body
    )
    names = {
        "account-opened": "/v1/accounts",
        "account-frozen": "/freeze",
        "account-unfrozen": "/unfreeze",
        "account-closed": "/close",
    }
    for fact, path in names.items():
        accepted = sum(each.path.endswith(path) for each in asked if each.accepted)
        check("an accepted change is told once", facts[fact] == accepted, fact, facts, accepted)


def _audit(servers: Servers) -> None:
    told = {
        (name, position): body
        for name in SERVICES
        for position, _, body in servers[name].rows("outbox").values()
    }
    log = servers["audit"].rows("audit_entry")
    records = [log[index].record for index in sorted(log)]
    kept = {record.origin: record.body for record in records}
    check("audit has every fact once", len(log) == len(kept) and kept == told, len(log), len(told))
    check("the log has no gap", sorted(log) == list(range(len(log))))
    tree, _ = Tree().appended(leaf_hash(record.body) for record in records)
    head, _ = servers["audit"].rows("audit_head").get("head", (Tree(), None))
    check("the log hashes to its head", head == tree, head.size)


def _customers(servers: Servers) -> None:
    living = {
        account.customer_id
        for account in servers["accounts"].rows("account").values()
        if account.state not in ("closed", "refused")
    }
    for customer in servers["customers"].rows("customer").values():
        check("no standing is under way", not customer.standing_under_way, customer.id)
        has = customer.status == "closed" and customer.id in living
        check("who is closed has no account", not has, customer.id)


def unsettled(bank: Bank) -> str:
    """What is still on its way; empty when the bank is at rest."""
    for name, server in bank.servers.items():
        if name not in bank.services:
            return f"{name} is down"
        positions = server.rows("positions")
        if positions.get("head") != positions.get("published"):
            return f"{name} has not published all of its facts"
        for letter in server.rows("dead_letter").values():
            raise Violated(f"{name} set a fact aside: {letter.error}")
        for source in declaration_of(name).hears:
            heard = server.rows("watermark").get(source, 0)
            if heard != bank.servers[source].rows("positions").get("head", 0):
                return f"{name} has not heard all of {source}"
        if any(saga.step != DONE for saga in server.rows("saga").values()):
            return f"a saga of {name} is not finished"
    return ""
