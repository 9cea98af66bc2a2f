"""Bugs, one at a time, such as a hasty change could bring in; only tests can plant them."""

import asyncio
from contextvars import ContextVar
from dataclasses import replace

from cbs.accounts.clients import BusBook
from cbs.accounts.domain import account as accounts_account
from cbs.kernel.answer import Answer
from cbs.kernel.refusal import Refusal
from cbs.ledger.application.book import Ledger
from cbs.ledger.domain.account import Account
from cbs.ledger.store import write_path
from cbs.ledger.store.batches import PostgresBatches
from cbs.platform import bus
from cbs.platform.consumer import Consumer
from cbs.platform.context import Context, within
from cbs.platform.database import UNREACHABLE
from cbs.platform.envelope import Call
from cbs.platform.idempotency import Keys
from cbs.platform.outbox import Fact
from cbs.platform.saga import Sagas


def dedupe_dropped(patch):
    async def once(self, asked, effect):
        async with self.database.transaction():
            await self.claim(asked)
            try:
                async with self.database.savepoint():
                    answer = await effect()
            except Refusal as refusal:
                if not refusal.lasting:
                    raise
                answer = self.refused(refusal)
            if answer is not None:
                await self.answer(
                    principal=asked.principal, key=asked.key, answer=answer, at=asked.at
                )
            return answer

    patch(Keys, "once", once)


def dedupe_dropped_in_the_ledger(patch):
    async def nothing_is_kept(self, names):
        return {}

    patch(PostgresBatches, "kept", nothing_is_kept)
    patch(write_path, "_Raced", Ignored)
    patch(write_path.WritePath, "_write", _written_again(write_path.WritePath._write))


class Ignored(Exception):
    pass


def _written_again(original):
    async def write(self, fresh, posted, at):
        try:
            await original(self, fresh, posted, at)
        except Ignored:
            await self.outbox.put_all([(each.to_event(), order.origin) for order, each in posted])

    return write


def watermark_moved_before_the_handler(patch):
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

    patch(Consumer, "_handled", handled)


def gap_overheard(patch):
    async def handled(self, facts):
        async with self.database.transaction():
            heard = await self.inbox.lock(self.source)
            due = {fact.position: fact for fact in facts if fact.position > heard}
            if due:
                with within(Context(principal=self.principal)):
                    await self.handle(list(due.values()))
                await self.inbox.move(self.source, max(due))
        return False

    patch(Consumer, "_handled", handled)


def answer_before_commit(patch):
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

    patch(write_path.WritePath, "_once", early)
    patch(write_path.WritePath, "_decided", deciding)


def retry_with_a_new_key(patch):
    used: dict[str, int] = {}

    def call(*, key="", correlation_id="", **rest):
        times = used.get(correlation_id + key, 0)
        used[correlation_id + key] = times + 1
        tried = f"{key}.{times}" if key and times else key
        return original(key=tried, correlation_id=correlation_id, **rest)

    original = Call
    patch(bus, "Call", call)


def freeze_not_told_to_the_ledger(patch):
    original = BusBook.change_terms

    async def change_terms(self, account):
        if account.terms.frozen is None:
            await original(self, account)

    patch(BusBook, "change_terms", change_terms)


def unknown_outcome_called_a_no(patch):
    async def looked_up(self, orders):
        body = b'{"type":"urn:cbs:insufficient-funds","title":"No.","status":409}'
        return [Answer(status=409, body=body)] * len(orders)

    patch(Ledger, "_looked_up", looked_up)


def saga_answers_in_a_second_transaction(patch):
    move = Sagas._move

    async def in_two(self, saga, moved, effect):
        later = Later()
        done = await move(replace(self, keys=later), saga, moved, effect)
        for answer in later.answers:
            async with self.database.transaction():
                await self.keys.answer(**answer)
        return done

    patch(Sagas, "_move", in_two)


class Later:
    def __init__(self):
        self.answers = []

    async def answer(self, **answer):
        self.answers.append(answer)


def old_terms_taken_for_new(patch):
    original = Account.change_terms

    def change_terms(self, terms):
        return original(replace(self, terms=replace(self.terms, version=0)), terms)

    patch(Account, "change_terms", change_terms)


def told_version_taken_for_settled(patch):
    original = accounts_account.Account.acknowledged_at

    def acknowledged_at(self, version, *, at):
        return original(self, self.version, at=at)

    patch(accounts_account.Account, "acknowledged_at", acknowledged_at)


def outage_ends_the_service(patch):
    """This one was ours: `type | tuple` is no type, and the task that said so ended."""

    async def finish_due(self):
        due = await self.store.take_due(limit=4)
        drives = (self._drive_as_service(saga) for saga in due)
        for error in await asyncio.gather(*drives, return_exceptions=True):
            if isinstance(error, BaseException):
                isinstance(error, Refusal | UNREACHABLE)
        return len(due)

    patch(Sagas, "finish_due", finish_due)


def nothing(patch):
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
]
