"""A made-up day's trade: valid papers, a few busy accounts, and no effect twice."""

from collections import Counter
from itertools import islice

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stdnum.in_ import aadhaar, pan

from cbs.tools.lab.demo import trade
from cbs.tools.lab.demo.people import people
from cbs.tools.lab.demo.trade import DemoRun, Summary
from cbs.tools.local.folder import Folder
from cbs.tools.local.public_api import PublicApi, RefusedByBank

RUN = DemoRun(number=1, seed=7, customers=6, transfers=40)


@given(st.text(max_size=20))
def test_everybody_has_papers_of_the_right_form_and_no_two_the_same(seed):
    some = list(islice(people(seed), 50))
    assert all(pan.is_valid(each.pan) and aadhaar.is_valid(each.aadhaar) for each in some)
    assert all(each.pan[3:5] == "P" + each.family_name[0] for each in some)
    assert len({each.pan for each in some}) == len({each.aadhaar for each in some}) == 50
    assert some == list(islice(people(seed), 50))


def test_another_seed_makes_other_people():
    assert next(people("demo-1-1")) != next(people("demo-1-2"))


def test_payments_are_many_for_few_accounts_and_the_same_each_time():
    run = DemoRun(number=1, seed=1, customers=100, transfers=5_000)
    accounts = [str(n) for n in range(100)]
    paid = list(trade.payments(run, accounts))
    assert paid == list(trade.payments(run, accounts))
    assert len(paid) == 5_000
    assert all(payment.remitter != payment.beneficiary for payment in paid)
    taken = Counter(payment.remitter for payment in paid)
    assert taken["0"] > 5 * taken["20"] > 0


def test_an_interrupted_run_is_gone_on_with_and_a_finished_one_is_not(tmp_path):
    folder = Folder.at(tmp_path)
    first, resumed = trade.next_run(folder, seed=1, customers=5, transfers=9)
    assert (first.number, resumed) == (1, False)
    assert trade.next_run(folder, seed=1, customers=5, transfers=9) == (first, True)
    other, resumed = trade.next_run(folder, seed=1, customers=6, transfers=9)
    assert (other.number, resumed) == (2, False)
    trade.finish(folder, other)
    third, resumed = trade.next_run(folder, seed=1, customers=6, transfers=9)
    assert (third.number, resumed) == (3, False)
    assert len({run.name for run in (first, other, third)}) == 3


async def traded(api):
    summary = Summary(run=RUN)
    accounts = await trade.onboard(api, summary, lambda: None)
    await trade.pay(api, accounts, summary, lambda: None)
    return summary, accounts


async def test_a_run_made_twice_has_its_effects_once_and_no_money_is_lost(bank):
    api = PublicApi.of(bank.folder, "teller")
    summary, accounts = await traded(api)
    tables = ("transaction", "posting", "account")
    before = [await bank.count("ledger", table) for table in tables]

    again, same_accounts = await traded(api)

    assert (summary.customers, summary.turned_away, same_accounts) == (6, {}, accounts)
    assert summary.transfers + sum(summary.refused.values()) == RUN.transfers
    assert (again.transfers, again.moved_minor, again.refused, again.deposited_minor) == (
        summary.transfers,
        summary.moved_minor,
        summary.refused,
        summary.deposited_minor,
    )
    assert [await bank.count("ledger", table) for table in tables] == before
    api.close()
    operator = PublicApi.of(bank.folder, "operator")
    found = await operator.get("/v1/ledger/accounts?limit=100", dict)
    operator.close()
    held = {each["number"]: each["balance_minor"] for each in found["items"]}
    assert sum(held[number] for number in accounts) == summary.deposited_minor
    assert held["INR-CASH"] == -summary.deposited_minor


async def test_papers_that_are_known_are_turned_away_and_the_others_trade_on(bank):
    api = PublicApi.of(bank.folder, "teller")
    taken = next(people(RUN.name))
    body = trade.registration(taken)
    await api.post("/v1/customers", body, msgspec.Raw, key="an-earlier-customer")

    summary, accounts = await traded(api)

    assert (summary.customers, summary.turned_away) == (5, {"document-known": 1})
    assert len(accounts) == 5
    api.close()


async def test_a_no_that_is_no_business_of_a_customers_stops_the_run(bank):
    api = PublicApi.of(bank.folder, "teller")
    api.token = "nonsense"
    with pytest.raises(RefusedByBank) as refused:
        await traded(api)
    assert (refused.value.status, refused.value.code) == (401, "not-signed-in")
    api.close()
