"""The unanswered are resolved, though a bank repeats an effect, loses one, or changes its word."""

from random import Random

import msgspec
import pytest

from cbs.tools.lab.chaos.client import Holder, once
from cbs.tools.lab.chaos.population import FoundAccount, FoundAccounts
from cbs.tools.lab.chaos.records import Records, RequestRecord
from cbs.tools.lab.chaos.resolve_unanswered import RequestState, Settlement
from cbs.tools.local.public_api import ApiProblem, ApiReply, RefusedByBank

HOLDERS = [Holder("asha", "a", "customer-a"), Holder("bina", "b", "customer-b")]


class FakeBank:
    """Takes deposits, and has what effect it says it has, unless it is `wrong` in a link."""

    def __init__(self, wrong=""):
        self.wrong, self.kept = wrong, {}
        self.balances = {holder.number: 0 for holder in HOLDERS}
        self.silent = False

    async def once(self, method, path, body=None, *, key=""):
        assert (method, path) == ("POST", "/v1/payments/deposits")
        known = key in self.kept
        if not known or self.wrong == "again":
            self.kept.setdefault(key, msgspec.json.encode({"id": key}))
            self.balances[body["account"]] += 0 if self.wrong == "lost" else body["amount_minor"]
        if self.silent:
            raise TimeoutError
        if known and self.wrong == "other answer":
            return ApiReply(201, b'{"id":"another"}')
        return ApiReply(201, self.kept[key])

    async def get(self, path, answer):
        if "/requests/" in path:
            return self._request(path.rpartition("/")[2])
        if path.startswith("/v1/accounts/by-number/"):
            return self._account(path.rpartition("/")[2])
        customer = path.partition("customer_id=")[2].partition("&")[0]
        numbers = [holder.number for holder in HOLDERS if holder.customer_id == customer]
        if self.wrong == "another account":
            numbers.append("new")
        return FoundAccounts(items=[self._account(number) for number in numbers])

    def _request(self, key):
        if key not in self.kept or self.wrong == "forgets":
            raise RefusedByBank(ApiProblem(type="urn:cbs:no-such-request", status=404))
        if self.wrong == "says otherwise":
            return RequestState(state="answered", status=409, answer=msgspec.Raw(b"{}"))
        return RequestState(state="answered", status=201, answer=msgspec.Raw(self.kept[key]))

    def _account(self, number):
        holder = next((each for each in HOLDERS if each.number == number), HOLDERS[0])
        return FoundAccount(
            id=holder.account_id,
            number=number,
            customer_id=holder.customer_id,
            version=2 if self.wrong == "changed" else 1,
            frozen=None,
            balance_minor=self.balances.get(number, 0),
        )


async def violations_of(bank, *, answered, unanswered):
    """Deposits are asked for, some without an answer, and then resolved."""
    records = Records()
    settlement = Settlement(api=bank, records=records, holders=HOLDERS, random=Random(1))
    for number in range(answered + unanswered):
        bank.silent = number >= answered
        account = HOLDERS[number % 2].number
        asked = RequestRecord(
            key=f"key-{number}",
            kind="deposit",
            path="/v1/payments/deposits",
            body={"account": account, "amount_minor": 100},
            moves=((account, 100),),
        )
        records.ask(asked)
        await once(bank, records, asked)
    bank.silent = False
    different = await settlement()
    return [*different, *records.violations], settlement.resolved


async def test_a_bank_that_keeps_its_promises_has_none_broken():
    violations, resolved = await violations_of(FakeBank(), answered=5, unanswered=3)

    assert violations == []
    assert (resolved.was_answered, resolved.had_no_effect, resolved.accepted) == (3, 0, 3)


@pytest.mark.parametrize(
    ("wrong", "answered", "unanswered"),
    [
        ("again", 4, 0),
        ("again", 0, 4),
        ("lost", 4, 0),
        ("other answer", 4, 0),
        ("forgets", 4, 0),
        ("says otherwise", 0, 4),
        ("another account", 4, 0),
        ("changed", 4, 0),
    ],
)
async def test_a_bank_that_does_not_is_seen_through(wrong, answered, unanswered):
    bank = FakeBank(wrong)
    violations, _ = await violations_of(bank, answered=answered, unanswered=unanswered)

    assert violations
