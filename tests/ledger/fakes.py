from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from uuid import UUID

from cbs.kernel.answer import Answer
from cbs.kernel.event import Event
from cbs.kernel.money import Currency
from cbs.kernel.refusal import KeyReused, Refusal
from cbs.ledger.application.book import Posting
from cbs.ledger.domain.account import Account, AccountKind, AccountSet, NoSuchAccount, Terms
from cbs.ledger.domain.transaction import Order, Transaction, decide
from cbs.ledger.main import posted
from cbs.platform.problem import answer_of


@dataclass
class InMemoryBook:
    """Keeps the promises of Book; test_book.py holds it and PostgreSQL to them."""

    now: Callable[[], datetime]
    new_id: Callable[[], UUID]
    kept: dict[str, Account] = field(default_factory=dict)
    postings: dict[str, list[Posting]] = field(default_factory=lambda: defaultdict(list))
    transactions: dict[UUID, Transaction] = field(default_factory=dict)
    keys: dict[tuple[str, str], tuple[bytes, Answer]] = field(default_factory=dict)
    facts: list[Event] = field(default_factory=list)

    async def post(self, orders: Sequence[Order]) -> list[Answer | Refusal]:
        return [self._known(order) or self._decide(order) for order in orders]

    async def answers(self, orders: Sequence[Order]) -> list[Answer | Refusal | None]:
        return [self._known(order) for order in orders]

    def _known(self, order: Order) -> Answer | Refusal | None:
        if (known := self.keys.get((order.principal, order.key))) is None:
            return None
        return known[1] if known[0] == order.fingerprint else KeyReused()

    def _decide(self, order: Order) -> Answer | Refusal:
        try:
            transaction, after = decide(order, self.kept, id=self.new_id(), at=self.now())
        except Refusal as refusal:
            if not refusal.lasting:
                return refusal
            answer = answer_of(refusal)
        else:
            self._keep(transaction, after)
            answer = Answer(status=201, body=posted(transaction))
        self.keys[order.principal, order.key] = (order.fingerprint, answer)
        return answer

    def _keep(self, transaction: Transaction, after: dict[str, Account]) -> None:
        self.kept |= after
        self.transactions[transaction.id] = transaction
        self.facts.append(transaction.to_event())
        for leg in transaction.legs:
            self.postings[leg.account].append(
                Posting(
                    seq=leg.seq,
                    transaction_id=transaction.id,
                    kind=transaction.kind,
                    amount_minor=leg.amount_minor,
                    balance_after_minor=leg.balance_after_minor,
                    currency=transaction.currency,
                    booked_on=transaction.booked_on,
                    value_on=transaction.value_on,
                    booked_at=transaction.booked_at,
                    narrative=transaction.narrative,
                )
            )

    async def open_account(
        self, *, number: str, kind: AccountKind, currency: Currency, terms: Terms
    ) -> Account:
        if (known := self.kept.get(number)) is not None:
            known.check_same(kind=kind, currency=currency, terms=terms)
            return known
        return self._set(Account.open(number=number, kind=kind, currency=currency, terms=terms))

    async def change_terms(self, *, number: str, terms: Terms) -> Account:
        if (known := self.kept.get(number)) is None:
            raise NoSuchAccount(number)
        changed = known.change_terms(terms)
        return known if changed is None else self._set(changed)

    def _set(self, changed: tuple[Account, AccountSet]) -> Account:
        account, event = changed
        self.kept[account.number] = account
        self.facts.append(event)
        return account

    async def accounts(self, numbers: Sequence[str]) -> list[Account]:
        return [self.kept[number] for number in numbers if number in self.kept]

    async def accounts_after(self, number: str, *, limit: int) -> list[Account]:
        return [self.kept[each] for each in sorted(self.kept) if each > number][:limit]

    async def balance_on(self, number: str, value_on: date) -> int:
        return sum(p.amount_minor for p in self.postings[number] if p.value_on <= value_on)

    async def history(self, number: str, *, before: int, limit: int) -> list[Posting]:
        return [p for p in reversed(self.postings[number]) if p.seq < before][:limit]

    async def transaction(self, id: UUID) -> Transaction | None:
        return self.transactions.get(id)
