"""Bugs, one at a time, such as a hasty change could bring in; only tests can plant them."""

import asyncio
from contextvars import ContextVar
from dataclasses import replace

from cbs.accounts.application.accounts import Accounts
from cbs.accounts.application.standing import Standings
from cbs.accounts.clients import BusBook
from cbs.accounts.domain import account as accounts_account
from cbs.kernel.answer import Answer
from cbs.kernel.refusal import Refusal
from cbs.ledger.application.book import Ledger
from cbs.ledger.domain.account import Account
from cbs.ledger.store import write_path
from cbs.platform import bus
from cbs.platform.consumer import Consumer
from cbs.platform.context import Context, within
from cbs.platform.database import UNREACHABLE
from cbs.platform.envelope import Call
from cbs.platform.idempotency import Keys
from cbs.platform.outbox import Fact
from cbs.platform.saga import Sagas
from tests.bugs.planting import Edit


def dedupe_dropped(patches):
    Edit(
        Keys, "once", "if not await self.claim(asked):", "if await self.claim(asked) is None:"
    ).make(patches)


def dedupe_dropped_in_the_ledger(patches):
    kept = "await self.store.kept([_name(order) for order in orders])"
    Edit(write_path.WritePath, "_decided", kept, "{}").make(patches)
    Edit(write_path.WritePath, "_write", "raise _Raced", "pass").make(patches)


def watermark_moved_before_the_handler(patches):
    async def handled(self, facts):
        async with self.database.transaction():
            heard = await self.inbox.lock(self.source)
            due: list[Fact] = []
            for fact in facts:
                if fact.position == heard + len(due) + 1:
                    due.append(fact)
            if due:
                await self.inbox.move(self.source, due[-1].position)
        if due:
            async with self.database.transaction():
                with within(Context(principal=self.principal)):
                    await self.handle(due)
        return bool(facts) and facts[-1].position > heard + len(due)

    patches.setattr(Consumer, "_handled", handled)


def gap_overheard(patches):
    next_one = "fact.position == heard + len(due) + 1"
    Edit(Consumer, "_handled", next_one, "fact.position > heard + len(due)").make(patches)


def answer_before_commit(patches):
    decided: ContextVar[asyncio.Future] = ContextVar("decided")
    once, decide = write_path.WritePath._once, write_path.WritePath._decided
    committing = set()

    async def early(self, orders):
        outcomes = asyncio.get_running_loop().create_future()
        decided.set(outcomes)
        task = asyncio.ensure_future(once(self, orders))
        committing.add(task)
        task.add_done_callback(committing.discard)
        await asyncio.wait([task, outcomes], return_when=asyncio.FIRST_COMPLETED)
        return outcomes.result() if outcomes.done() else await task

    async def deciding(self, orders):
        outcomes = await decide(self, orders)
        decided.get().set_result(outcomes)
        return outcomes

    patches.setattr(write_path.WritePath, "_once", early)
    patches.setattr(write_path.WritePath, "_decided", deciding)


def retry_with_a_new_key(patches):
    used: dict[str, int] = {}

    def call(*, key="", correlation_id="", **rest):
        times = used.get(correlation_id + key, 0)
        used[correlation_id + key] = times + 1
        tried = f"{key}.{times}" if key and times else key
        return original(key=tried, correlation_id=correlation_id, **rest)

    original = Call
    patches.setattr(bus, "Call", call)


def freeze_not_told_to_the_ledger(patches):
    original = BusBook.change_terms

    async def change_terms(self, account):
        if account.terms.frozen is None:
            await original(self, account)

    patches.setattr(BusBook, "change_terms", change_terms)


def unknown_outcome_called_a_no(patches):
    async def looked_up(self, orders):
        body = b'{"type":"urn:cbs:insufficient-funds","title":"No.","status":409}'
        return [Answer(status=409, body=body)] * len(orders)

    patches.setattr(Ledger, "_looked_up", looked_up)


def saga_answers_in_a_second_transaction(patches):
    move = Sagas._move

    async def in_two(self, saga, moved, effect):
        later = Later()
        done = await move(replace(self, keys=later), saga, moved, effect)
        for answer in later.answers:
            async with self.database.transaction():
                await self.keys.answer(**answer)
        return done

    patches.setattr(Sagas, "_move", in_two)


class Later:
    def __init__(self):
        self.answers = []

    async def answer(self, **answer):
        self.answers.append(answer)


def old_terms_taken_for_new(patches):
    original = Account.change_terms

    def change_terms(self, terms):
        return original(replace(self, terms=replace(self.terms, version=0)), terms)

    patches.setattr(Account, "change_terms", change_terms)


def told_version_taken_for_settled(patches):
    original = accounts_account.Account.acknowledged_at

    def acknowledged_at(self, version, *, at):
        return original(self, self.version, at=at)

    patches.setattr(accounts_account.Account, "acknowledged_at", acknowledged_at)


def outage_ends_the_service(patches):
    """This one was ours: `type | tuple` is no type, and the task that said so ended."""

    async def finish_due(self):
        due = await self.store.take_due(limit=4)
        drives = (self._drive_as_service(saga) for saga in due)
        for error in await asyncio.gather(*drives, return_exceptions=True):
            if isinstance(error, BaseException):
                isinstance(error, Refusal | UNREACHABLE)
        return len(due)

    patches.setattr(Sagas, "finish_due", finish_due)


def suspension_answered_before_the_ledger_has_it(patches):
    """This one was ours, and the simulation's first answer to suspensions."""
    Edit(Standings, "_follow_all", " or not account.settled", "").make(patches)


def customer_closed_whatever_they_hold(patches):
    Edit(Accounts, "set_standing", "raise CustomerHasAccounts", "pass").make(patches)


def freeze_lifted_with_another(patches):
    of_one = "lifted if each is freeze else each"
    of_all = "replace(each, lifted_by=by, lifted_at=at, lifted_because=because)"
    Edit(accounts_account.Account, "_lifted", of_one, of_all).make(patches)


def nothing(patches):
    """What the others are compared with."""


BUGS = [
    dedupe_dropped,
    dedupe_dropped_in_the_ledger,
    watermark_moved_before_the_handler,
    gap_overheard,
    answer_before_commit,
    retry_with_a_new_key,
    freeze_not_told_to_the_ledger,
    unknown_outcome_called_a_no,
    saga_answers_in_a_second_transaction,
    old_terms_taken_for_new,
    told_version_taken_for_settled,
    outage_ends_the_service,
    suspension_answered_before_the_ledger_has_it,
    customer_closed_whatever_they_hold,
    freeze_lifted_with_another,
]
