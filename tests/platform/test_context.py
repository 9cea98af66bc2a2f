from cbs.platform import context
from cbs.platform.context import new_id


def test_ids_are_in_the_order_of_making():
    made = [new_id() for _ in range(5_000)]

    assert made == sorted(set(made))
    assert {each.version for each in made} == {7}


def test_a_clock_that_goes_back_does_not_disturb_the_order(monkeypatch):
    before = new_id()
    monkeypatch.setattr(context.SOURCES, "time_ns", lambda: 1_600_000_000 * 10**9)

    assert new_id() > before


def test_without_a_context_nobody_acts():
    assert context.current().principal.permissions == frozenset()
