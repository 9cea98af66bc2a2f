"""A moved clock moves what a service takes for now, at once, and back."""

from datetime import UTC, datetime, timedelta

from cbs.platform.context import SOURCES, new_id, now
from cbs.tools.lab.chaos.clocks import Clocks
from cbs.tools.lab.chaos.moved_clock import moved


def off():
    return round((now() - datetime.now(UTC)) / timedelta(hours=1))


def test_a_clock_is_right_moved_and_right_again(tmp_path, monkeypatch):
    monkeypatch.setattr(SOURCES, "time_ns", SOURCES.time_ns)  # put back afterwards
    clocks = Clocks(tmp_path / "clocks")
    clocks.make()
    moved(clocks.folder / "ledger")

    found = [off()]
    for hours in (50, -7, 0):
        clocks.move("ledger", hours * 3600)
        found.append(off())

    assert found == [0, 50, -7, 0]


def test_ids_go_up_whatever_the_clock_does(tmp_path, monkeypatch):
    monkeypatch.setattr(SOURCES, "time_ns", SOURCES.time_ns)
    clocks = Clocks(tmp_path / "clocks")
    clocks.make()
    moved(clocks.folder / "ledger")
    made = [new_id()]
    for seconds in (90, -90, 0):
        clocks.move("ledger", seconds)
        made += [new_id(), new_id()]

    assert made == sorted(made)
