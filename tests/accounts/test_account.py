"""An account's own rules: what may follow what, whatever order things happen in."""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cbs.accounts.domain.account import (
    Account,
    AccountIsFrozen,
    AccountNotOpen,
    AlreadySuspended,
    ChangeUnderWay,
    State,
)
from cbs.accounts.domain.freeze import (
    FREEZES_MAX,
    Cause,
    Freeze,
    FrozenWithCustomer,
    NoSuchFreeze,
    NotFrozen,
    Scope,
    SeveralFreezes,
    TooManyFreezes,
)
from cbs.accounts.domain.product import OverdraftOutOfRange, OverdraftsOutOfOrder, ProductWithdrawn
from cbs.kernel.refusal import Refusal
from cbs.platform.context import new_id
from tests.accounts.fakes import CURRENT, NOON, a_freeze, account, lifted

Act = Callable[[Account], Account]
AMOUNTS = st.integers(0, 1_000)
ACTS = st.one_of(
    st.builds(lambda scope: lambda a: a.freeze(a_freeze(scope)), st.sampled_from(Scope)),
    st.builds(
        lambda n: lambda a: lifted(a, a.freezes[n % len(a.freezes)].id if a.freezes else None),
        st.integers(0, 3),
    ),
    st.builds(
        lambda overdraft, day: (
            lambda a: a.limit(
                per_transaction_minor=None, per_day_minor=day, overdraft_minor=overdraft
            )
        ),
        AMOUNTS,
        AMOUNTS,
    ),
    st.just(lambda a: a.close()),
    st.builds(
        lambda back: lambda a: a.acknowledged_at(max(a.version - back, 1), at=NOON),
        st.integers(0, 3),
    ),
)


# The first of these that is not refused: one alone is, nearly every other time.
SOME = st.tuples(ACTS, ACTS, ACTS)


def done(at: Account, acts: Sequence[Act]) -> Account | None:
    for act in acts:
        with suppress(Refusal):
            return act(at)
    return None


@given(st.lists(SOME, max_size=30))
def test_whatever_is_done_an_account_stays_whole(steps):
    at = account()
    for acts in steps:
        before, after = at, done(at, acts)
        if after is None:
            continue
        at = after
        assert at.version - before.version in (0, 1)
        assert at.acknowledged >= before.acknowledged
        assert (at.version > before.version) or (at.terms == before.terms)
        # Nothing is changed beside a change that may still be refused.
        assert not (before.awaiting_ledger and at.version > before.version)
        assert not at.awaiting_ledger or at.acknowledged == at.version - 1
        assert at.state is not State.CLOSED or at.settled
        assert at.state in (State.OPEN, State.CLOSING, State.CLOSED)


@given(st.lists(SOME, max_size=10))
def test_a_refused_change_that_is_undone_leaves_the_former_terms(steps):
    at = account()
    for acts in steps:
        changed = done(at, acts)
        if changed is None:
            continue
        if changed.awaiting_ledger and changed.version > at.version:
            back = changed.reverted_to(at.terms)
            assert (back.state, back.terms) == (at.state, at.terms)
            assert back.version == changed.version + 1
            assert back.acknowledged_at(back.version, at=NOON).settled
        at = changed


def test_two_acts_in_three_take_effect():
    """Of acts that are all refused nothing would be shown."""
    counted: Counter[bool] = Counter()

    @settings(max_examples=100, database=None, derandomize=True)
    @given(st.lists(SOME, min_size=5, max_size=30))
    def count(steps: list[tuple[Act, Act, Act]]) -> None:
        at = account()
        for acts in steps:
            after = done(at, acts)
            counted[after is not None] += 1
            at = after or at

    count()
    assert counted[True] / counted.total() > 2 / 3, counted


def test_any_number_of_freezes_hold_and_the_strictest_counts():
    of_debits, of_all = a_freeze(Scope.DEBITS), a_freeze(Scope.ALL)
    both = account().freeze(of_all).freeze(of_debits)

    assert both.freezes == (of_all, of_debits) and both.terms.frozen is Scope.ALL
    with pytest.raises(SeveralFreezes):
        lifted(both)
    with pytest.raises(NoSuchFreeze):
        lifted(both, new_id())
    weaker = lifted(both, of_all.id)
    assert (weaker.freezes, weaker.terms.frozen) == ((of_debits,), Scope.DEBITS)
    stricter = lifted(both, of_debits.id)
    assert (stricter.freezes, stricter.terms.frozen) == ((of_all,), Scope.ALL)
    assert lifted(weaker).terms.frozen is None and lifted(weaker).version == 5


def test_so_many_freezes_hold_at_most():
    at = account()
    for _ in range(FREEZES_MAX):
        at = at.freeze(a_freeze())

    with pytest.raises(TooManyFreezes):
        at.freeze(a_freeze())
    suspended = at.freeze(a_freeze(Scope.DEBITS, cause=Cause.SUSPENSION))
    assert len(suspended.freezes) == FREEZES_MAX + 1


def test_of_a_freeze_is_known_what_was_said_and_no_more():
    said: dict[str, Any] = {
        "id": new_id(),
        "scope": Scope.ALL,
        "reason": "a call",
        "placed_by": "asha",
        "placed_at": NOON,
    }

    assert Freeze(**said) == Freeze(
        **said,
        cause=Cause.ORDER,
        authority=None,
        until=None,
        lifted_by=None,
        lifted_at=None,
        lifted_because=None,
    )
    assert FREEZES_MAX == 20


def test_a_lifted_freeze_says_by_whom_when_and_why_until_it_is_kept():
    freeze = a_freeze()
    at = account().freeze(freeze).unfreeze(None, because="paid", by="usha", at=NOON)

    assert at.freezes == (replace(freeze, lifted_by="usha", lifted_at=NOON, lifted_because="paid"),)
    assert not at.freezes[0].holds


def test_a_suspension_holds_once_and_ends_with_the_customers_alone():
    suspension = a_freeze(Scope.DEBITS, cause=Cause.SUSPENSION)
    at = account().freeze(suspension)

    assert at.suspension == suspension and at.terms.frozen is Scope.DEBITS
    with pytest.raises(AlreadySuspended):
        at.freeze(a_freeze(Scope.DEBITS, cause=Cause.SUSPENSION))
    for freeze_id in (None, suspension.id):
        with pytest.raises(FrozenWithCustomer):
            lifted(at, freeze_id)
    ordered = at.freeze(a_freeze())
    assert lifted(ordered).freezes == (suspension,)
    ended = ordered.end_suspension(because="reinstated", by="usha", at=NOON)
    assert ended.terms.frozen is Scope.ALL
    (over,) = [each for each in ended.freezes if not each.holds]
    assert (over.lifted_by, over.lifted_because) == ("usha", "reinstated")
    with pytest.raises(NotFrozen):
        account().end_suspension(because="reinstated", by="usha", at=NOON)
    closed = at.acknowledged_at(2, at=NOON).close().acknowledged_at(3, at=NOON)
    for act in (
        lambda: closed.end_suspension(because="reinstated", by="usha", at=NOON),
        lambda: closed.freeze(suspension),
    ):
        with pytest.raises(AccountNotOpen):
            act()


def test_a_suspended_customers_empty_account_is_closed():
    suspended = account().freeze(a_freeze(Scope.DEBITS, cause=Cause.SUSPENSION))

    assert suspended.acknowledged_at(2, at=NOON).close().state is State.CLOSING


def test_an_unfreezing_that_is_not_through_yet_is_not_said_to_be():
    frozen = account().freeze(a_freeze()).acknowledged_at(2, at=NOON)

    with pytest.raises(ChangeUnderWay):
        lifted(lifted(frozen))
    with pytest.raises(NotFrozen):
        lifted(lifted(frozen).acknowledged_at(3, at=NOON))


def test_changes_that_the_ledger_cannot_refuse_go_side_by_side():
    at = account().freeze(a_freeze(Scope.DEBITS))
    at = at.limit(per_transaction_minor=1, per_day_minor=2, overdraft_minor=0)

    assert (at.version, at.acknowledged, at.awaiting_ledger) == (3, 1, False)


@pytest.mark.parametrize(
    "act",
    [
        lambda a: a.freeze(a_freeze()),
        lifted,
        lambda a: a.close(),
        lambda a: a.limit(per_transaction_minor=None, per_day_minor=None, overdraft_minor=9),
    ],
)
def test_nothing_goes_beside_what_the_ledger_may_refuse(act):
    lent = replace(account(), terms=replace(account().terms, overdraft_minor=10))
    lower = lent.limit(per_transaction_minor=None, per_day_minor=None, overdraft_minor=5)

    for under_way in (account().close(), lower, opening()):
        with pytest.raises(ChangeUnderWay):
            act(under_way)
    for ended in (account().close().acknowledged_at(2, at=NOON), opening().refused()):
        with pytest.raises(AccountNotOpen):
            act(ended)


def test_what_the_ledger_may_refuse_waits_for_the_rest():
    frozen_and_thawed = lifted(account().freeze(a_freeze()))

    with pytest.raises(ChangeUnderWay):
        frozen_and_thawed.close()
    assert frozen_and_thawed.acknowledged_at(3, at=NOON).close().state is State.CLOSING


def test_a_frozen_account_is_not_closed():
    with pytest.raises(AccountIsFrozen):
        account().freeze(a_freeze(Scope.DEBITS)).acknowledged_at(2, at=NOON).close()


def test_an_acknowledgement_of_an_older_version_settles_nothing():
    closing = account().close()

    assert closing.acknowledged_at(1, at=NOON) == closing
    assert closing.acknowledged_at(2, at=NOON).closed_at == NOON


def test_an_account_is_opened_on_its_products_terms():
    assert opening().terms.limit_per_day_minor == CURRENT.limit_per_day_minor
    assert opening(overdraft_minor=1_000).terms.overdraft_minor == 1_000
    with pytest.raises(OverdraftOutOfRange):
        opening(overdraft_minor=1_001)
    with pytest.raises(ProductWithdrawn):
        opening(product=replace(CURRENT, active=False))
    with pytest.raises(OverdraftsOutOfOrder):
        replace(CURRENT, overdraft_min_minor=2_000)


def opening(**changed) -> Account:
    plain = account()
    wanted = {
        "id": plain.id,
        "number": plain.number,
        "branch": 1,
        "customer_id": plain.customer_id,
        "product": CURRENT,
        "overdraft_minor": None,
    }
    return Account.opening(**{**wanted, **changed})
