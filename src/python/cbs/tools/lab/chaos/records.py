"""What the clients asked and were told is enough to say what the bank must now hold.

Nothing here asks the bank: it is told what the bank says, and says where that cannot be.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

CASH = "cash"
REFUSALS = frozenset({404, 409})
LATER = frozenset({429, 500, 502, 503, 504})
FREEZE, UNFREEZE, OPENING = "freeze", "unfreeze", "opening"


class Violation(msgspec.Struct, kw_only=True, frozen=True):
    """A promise that was not kept, about which request or account, and how it shows."""

    promise: str
    about: str
    found: str


@dataclass(slots=True, kw_only=True)
class RequestRecord:
    """One request for a change. `moves` is what it does to balances if it is accepted; `about` the
    account that is frozen, or the customer for whom one is opened. Times are monotonic seconds."""

    key: str
    kind: str
    path: str
    body: Mapping[str, Any]
    moves: tuple[tuple[str, int], ...] = ()
    about: str = ""
    began: float = 0
    told_at: float = 0
    tries: int = 0
    status: int = 0
    answer: bytes = b""

    @property
    def service(self) -> str:
        return self.path.split("/")[2]

    @property
    def accepted(self) -> bool:
        return 200 <= self.status < 300

    @property
    def refused(self) -> bool:
        return self.status in REFUSALS

    @property
    def unanswered(self) -> bool:
        return self.status == 0


@dataclass(slots=True)
class Records:
    """`all` that was asked since the last `fold`, in the order of asking, and counts of it all."""

    all: list[RequestRecord] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)
    silences: Counter[str] = field(default_factory=Counter)
    folded: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)

    def ask(self, asked: RequestRecord) -> None:
        self.all.append(asked)

    def silent(self, why: str) -> None:
        """A try that told nothing of what became of the request."""
        self.silences[why] += 1

    def told(self, asked: RequestRecord, *, status: int, answer: bytes, at: float) -> bool:
        """Note an answer; False if it leaves the outcome open. Only the first may be news."""
        if status in LATER:
            self.silent(str(status))
            return False
        if not (200 <= status < 300 or status in REFUSALS):
            self._broken("a legal request is accepted or refused", asked, _said(status, answer))
        elif asked.unanswered:
            asked.status, asked.answer, asked.told_at = status, answer, at
        elif (status, answer) != (asked.status, asked.answer):
            first = _said(asked.status, asked.answer)
            found = f"first {first}, then {_said(status, answer)}"
            self._broken("the same key has the same answer", asked, found)
        return True

    def contradicted(self, asked: RequestRecord, found: str) -> None:
        self._broken("what is said of a request under its key is its answer", asked, found)

    def _broken(self, promise: str, asked: RequestRecord, found: str) -> None:
        about = f"{asked.kind} {asked.key}"
        self.violations.append(Violation(promise=promise, about=about, found=found))

    def counts(self) -> Counter[str]:
        return self.folded + self._counts()

    def _counts(self) -> Counter[str]:
        return Counter(
            asked=len(self.all),
            accepted=sum(asked.accepted for asked in self.all),
            refused=sum(asked.refused for asked in self.all),
            unanswered=sum(asked.unanswered for asked in self.all),
            tries=sum(asked.tries for asked in self.all),
        )

    def fold(self) -> list[RequestRecord]:
        """All since the last time, which is then only counted here."""
        self.folded += self._counts()
        for asked in self.all:
            if asked.refused:
                problem = msgspec.json.decode(asked.answer)
                self.refusals[problem["type"].removeprefix("urn:cbs:")] += 1
        done, self.all = self.all, []
        return done


@dataclass(slots=True)
class Due:
    """What the bank must hold if every accepted request had one effect, and no other had any.

    Accounts: their balances, and their (version, frozen). Customers: their accounts' numbers.
    """

    balances: dict[str, int] = field(default_factory=dict)
    terms: dict[str, tuple[int, bool]] = field(default_factory=dict)
    openings: dict[str, list[str]] = field(default_factory=dict)

    def holder(self, *, number: str, customer: str) -> None:
        """An account that exists before anything is asked about it."""
        self.balances[number], self.terms[number] = 0, (1, False)
        self.openings[customer] = [number]

    def add(self, all_asked: Iterable[RequestRecord]) -> None:
        """One client changes an account's terms, one change at a time, so the order is known."""
        for asked in all_asked:
            if not asked.accepted:
                continue
            for account, amount_minor in asked.moves:
                if account != CASH:
                    self.balances[account] = self.balances.get(account, 0) + amount_minor
            if asked.kind in (FREEZE, UNFREEZE):
                version, _ = self.terms[asked.about]
                self.terms[asked.about] = (version + 1, asked.kind == FREEZE)
            elif asked.kind == OPENING:
                self.openings[asked.about].append(msgspec.json.decode(asked.answer)["number"])

    def unlike(self, found: "Due") -> Iterator[Violation]:
        """Where what was `found` at the bank is not this."""
        for name, due, held in (
            ("the balance of account", self.balances, found.balances),
            ("the (version, frozen) of account", self.terms, found.terms),
            ("the accounts of customer", _sorted(self.openings), _sorted(found.openings)),
        ):
            for whose, value in due.items():
                if held.get(whose) != value:
                    yield Violation(
                        promise="every accepted request has one effect, every refused one none",
                        about=f"{name} {whose}",
                        found=f"found {held.get(whose)}, by the clients' records {value}",
                    )


def _sorted(openings: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    return {customer: sorted(numbers) for customer, numbers in openings.items()}


def leaking_freezes(all_asked: Sequence[RequestRecord]) -> Iterator[Violation]:
    """What moved an account although it was asked and answered wholly within a freeze."""
    frozen = _freezes(all_asked)
    for asked in all_asked:
        if not asked.accepted:
            continue
        for account, _ in asked.moves:
            for since, until in frozen.get(account, ()):
                if since < asked.began and asked.told_at < until:
                    yield Violation(
                        promise="a freeze holds from the moment it is answered",
                        about=f"{asked.kind} {asked.key}",
                        found=f"moved account {account} {asked.told_at - since:.3f} s after",
                    )


def _freezes(all_asked: Sequence[RequestRecord]) -> dict[str, list[tuple[float, float]]]:
    """From when a freeze was answered to when its end was first asked for."""
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for asked in all_asked:
        spans = found[asked.about]
        if asked.kind == FREEZE and asked.accepted:
            spans.append((asked.told_at, float("inf")))
        elif asked.kind == UNFREEZE and spans:
            spans[-1] = (spans[-1][0], min(spans[-1][1], asked.began))
    return found


def _said(status: int, answer: bytes) -> str:
    return f"{status} {answer[:300].decode(errors='replace')}"
