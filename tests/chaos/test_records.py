"""The clients' records say what the bank must hold, and see one effect too many or too few."""

import json
from itertools import islice

import pytest

from cbs.tools.lab.chaos import faults, faulty_network
from cbs.tools.lab.chaos.records import CASH, Due, Records, RequestRecord, leaking_freezes

WORSE = (faults.STOP, faults.LOSE, faults.FULL)
ASHA, BINA, CUSTOMER = "asha", "bina", "customer"


def transfer(key, amount, *, began=0.0):
    moves = ((ASHA, -amount), (BINA, amount))
    path = "/v1/payments/transfers"
    return RequestRecord(key=key, kind="transfer", path=path, body={}, moves=moves, began=began)


def deposit(key, account, amount):
    moves = ((CASH, -amount), (account, amount))
    return RequestRecord(
        key=key, kind="deposit", path="/v1/payments/deposits", body={}, moves=moves
    )


def change(key, kind, about=ASHA, *, began=0.0):
    return RequestRecord(key=key, kind=kind, path="/v1/accounts", body={}, about=about, began=began)


def refusal(code):
    return json.dumps({"type": f"urn:cbs:{code}"}).encode()


@pytest.fixture
def records():
    """Two deposits, one transfer accepted and one refused, one never answered, a freeze."""
    records = Records()
    opened = b'{"number":"new"}'
    for asked, status, answer in (
        (deposit("d1", ASHA, 1000), 201, b"{}"),
        (deposit("d2", BINA, 500), 201, b"{}"),
        (transfer("t1", 300), 201, b"{}"),
        (transfer("t2", 9999), 409, refusal("insufficient-funds")),
        (transfer("t3", 7), 503, b""),
        (change("f1", "freeze"), 200, b"{}"),
        (change("o1", "opening", CUSTOMER), 201, opened),
    ):
        records.ask(asked)
        records.told(asked, status=status, answer=answer, at=1.0)
    return records


def due_of(records):
    due = Due()
    due.holder(number=ASHA, customer=CUSTOMER)
    due.holder(number=BINA, customer="other")
    due.add(records.fold())
    return due


def held(**changed):
    """What a bank holds that kept every promise, but for what is `changed`."""
    found = Due(
        balances={ASHA: 700, BINA: 800},
        terms={ASHA: (2, True), BINA: (1, False)},
        openings={CUSTOMER: ["new", ASHA], "other": [BINA]},
    )
    for name, values in changed.items():
        getattr(found, name).update(values)
    return found


def test_what_was_accepted_had_one_effect_and_what_was_refused_none(records):
    assert list(due_of(records).unlike(held())) == []


@pytest.mark.parametrize(
    ("changed", "about"),
    [
        ({"balances": {ASHA: 400, BINA: 1100}}, {ASHA, BINA}),  # a transfer twice
        ({"balances": {ASHA: 1000, BINA: 500}}, {ASHA, BINA}),  # a transfer lost
        ({"balances": {BINA: 300}}, {BINA}),  # a deposit lost
        ({"balances": {ASHA: 693, BINA: 807}}, {ASHA, BINA}),  # one had an effect, nobody was told
        ({"balances": {ASHA: 700 - 9999, BINA: 800 + 9999}}, {ASHA, BINA}),  # one that was refused
        ({"terms": {ASHA: (3, True)}}, {ASHA}),  # a freeze twice
        ({"terms": {ASHA: (1, False)}}, {ASHA}),  # a freeze lost
        ({"openings": {CUSTOMER: ["new", ASHA, "newer"]}}, {CUSTOMER}),  # an opening twice
        ({"openings": {CUSTOMER: [ASHA]}}, {CUSTOMER}),  # an opening lost
    ],
)
def test_an_effect_too_many_or_too_few_is_seen(records, changed, about):
    violations = list(due_of(records).unlike(held(**changed)))

    assert {each.about.rpartition(" ")[2] for each in violations} == about


def test_what_was_folded_stays_in_the_counts_and_in_what_is_due(records):
    due = due_of(records)
    records.ask(later := transfer("t4", 1))
    records.told(later, status=201, answer=b"{}", at=2.0)
    due.add(records.fold())

    assert list(due.unlike(held(balances={ASHA: 699, BINA: 801}))) == []
    assert (records.counts()["accepted"], records.counts()["unanswered"]) == (6, 1)
    assert records.refusals == {"insufficient-funds": 1}


@pytest.mark.parametrize(
    ("status", "answer", "violations"),
    [
        (201, b"{}", 0),
        (201, b'{"other": 1}', 1),  # other bytes
        (409, refusal("account-blocked"), 1),  # refused after all
        (503, b"", 0),  # says nothing
        (400, b"", 1),  # a legal request is not malformed
        (401, b"", 1),
    ],
)
def test_the_same_key_must_have_the_same_answer(status, answer, violations):
    records, asked = Records(), deposit("d1", ASHA, 1)
    records.told(asked, status=201, answer=b"{}", at=1.0)
    records.told(asked, status=status, answer=answer, at=2.0)

    assert len(records.violations) == violations
    assert asked.accepted


@pytest.mark.parametrize(
    ("began", "told_at", "leaks"),
    [
        (1.5, 1.6, True),
        (0.5, 1.6, False),  # asked before the freeze was answered
        (1.5, 3.5, False),  # perhaps only after its end had been asked for
        (3.5, 3.6, False),
    ],
)
def test_what_moves_a_frozen_account_is_seen(began, told_at, leaks):
    records = Records()
    freeze, end = change("f1", "freeze"), change("u1", "unfreeze", began=3.0)
    records.told(freeze, status=200, answer=b"{}", at=1.0)
    records.told(end, status=200, answer=b"{}", at=4.0)
    paid = transfer("t1", 5, began=began)
    records.told(paid, status=201, answer=b"{}", at=told_at)

    assert bool(list(leaking_freezes([freeze, paid, end]))) == leaks


def test_a_seed_gives_the_same_faults_again_and_every_round_kills_every_part():
    first, again, other = (list(islice(faults.rounds(seed), 4)) for seed in (7, 7, 8))

    assert first == again != other
    for planned in first:
        assert {fault.part for fault in planned if fault.kind == faults.KILL} == set(faults.PARTS)
    worse = [fault.kind for planned in first for fault in planned if fault.kind in WORSE]
    assert worse == [faults.STOP, faults.LOSE, faults.FULL, faults.FULL, faults.STOP]


def test_three_rounds_have_every_kind_of_fault_and_eight_slow_and_cut_every_way():
    first = list(islice(faults.rounds(1), 8))

    assert {fault.kind for planned in first[:3] for fault in planned} == set(faults.KINDS)
    for kind in (faults.SEVER, faults.STALL, faults.SLOW):
        parts = {fault.part for planned in first for fault in planned if fault.kind == kind}
        assert parts == set(faulty_network.NAMES)


def test_a_seed_has_the_same_faults_when_some_kinds_are_left_out():
    (whole, few) = (next(faults.rounds(3, kinds)) for kinds in (faults.KINDS, [faults.CLOCK]))

    assert few == [fault for fault in whole if fault.kind == faults.CLOCK]
