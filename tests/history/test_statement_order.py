"""Days of an old book are put in the order in which their balances chain."""

from dataclasses import dataclass
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cbs.tools.lab.demo import statement_order
from cbs.tools.lab.demo.statement_order import in_statement_order, roundings

MONDAY = date(1996, 1, 1)


@dataclass(frozen=True)
class Line:
    id: int
    amount_minor: int
    balance_minor: int
    on: date = MONDAY


def ids(entries):
    return [entry.id for entry in entries]


def test_a_day_chains_whatever_the_numbers_of_its_lines():
    day = [Line(3, 1000, 1000), Line(1, -200, 800), Line(2, 500, 1300)]
    chain = in_statement_order(day)
    assert (ids(chain.entries), chain.broken) == ([3, 1, 2], [])


def test_what_chains_exactly_is_preferred_to_what_would_need_roundings():
    day = [Line(1, 2, 7), Line(2, 5, 5)]
    assert ids(in_statement_order(day).entries) == [2, 1]
    assert roundings(in_statement_order(day).entries) == [0, 0]


def test_a_choice_that_spoils_the_next_day_is_not_taken():
    tuesday = Line(3, 1, -3, MONDAY + timedelta(days=1))
    chain = in_statement_order([Line(1, 2, 7), Line(2, 5, 5), tuesday])
    assert (ids(chain.entries), chain.broken) == ([1, 2, 3], [])
    assert roundings(chain.entries) == [5, -7, -9]


def test_a_rounding_of_a_tenth_is_seen_and_more_is_not_one():
    lines = [Line(1, 1000, 1010), Line(2, -10, 1000), Line(3, 100, 1111), Line(4, 1, 1101)]
    assert roundings(lines) == [10, 0, None, 0]


def test_a_day_that_does_not_follow_is_named_and_the_next_goes_on_from_the_sum():
    days = [MONDAY + timedelta(days=n) for n in range(3)]
    lines = [Line(1, 100, 100, days[0]), Line(2, 50, 99_999, days[1]), Line(3, 1, 151, days[2])]
    chain = in_statement_order(lines)
    assert (ids(chain.entries), chain.broken) == ([1, 2, 3], [days[1]])
    assert roundings(chain.entries) == [0, None, 0]


def test_a_day_with_too_many_orders_is_given_up_and_keeps_the_order_of_the_file(monkeypatch):
    monkeypatch.setattr(statement_order, "ORDERS_MAX", 10)
    day = [Line(n, 10 if n % 2 else -10, 10 if n % 2 else 0) for n in range(1, 13)]
    chain = in_statement_order(day)
    assert (ids(chain.entries), chain.broken) == (list(range(1, 13)), [MONDAY])


@given(
    st.lists(
        st.lists(
            st.tuples(st.integers(-500_000, 500_000), st.sampled_from([0, 0, 0, 0, 10, -10])),
            min_size=1,
            max_size=6,
        ),
        max_size=5,
    ),
    st.randoms(use_true_random=False),
)
def test_every_book_that_was_kept_in_some_order_chains(days, random):
    lines, balance = [], 0
    numbers = list(range(sum(map(len, days))))
    random.shuffle(numbers)
    for n, day in enumerate(days):
        for amount, rounding in day:
            balance += amount + rounding
            lines.append(Line(numbers.pop(), amount, balance, MONDAY + timedelta(days=n)))
    shuffled = random.sample(lines, len(lines))

    chain = in_statement_order(shuffled)

    assert chain.broken == []
    assert sorted(ids(chain.entries)) == sorted(ids(lines))
    assert [entry.on for entry in chain.entries] == [line.on for line in lines]
    gaps = roundings(chain.entries)
    assert all(gap is not None and abs(gap) <= statement_order.ROUNDING_MINOR_MAX for gap in gaps)
    total = sum(line.amount_minor for line in lines)
    if lines:
        assert total + sum(gap or 0 for gap in gaps) == chain.entries[-1].balance_minor


@pytest.mark.parametrize("lines", [[], [Line(1, 5, 5)]])
def test_little_is_in_order_by_itself(lines):
    assert in_statement_order(lines).entries == lines
