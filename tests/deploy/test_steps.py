"""A release that is killed anywhere, however often, comes to the same end as one that is not."""

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cbs.tools.release.deploy.releases import ReleaseKind, ReleaseOutcome, ReleaseStep
from cbs.tools.release.deploy.steps import CannotGoOn, Deploying
from cbs.tools.release.gate.package import sha256_of
from cbs.tools.release.gate.records import GateAnswer
from tests.deploy.world import NEW, OLD, Hand, Killed, World, said

# A release that is not killed has fewer moments than this; lives after a kill have their own.
MOMENTS_MAX = 90
GOOD = (
    *("package", "gate", "artifact", "migrations", "baseline"),
    *("canary", "judge", "promote", "record"),
)


@pytest.fixture(scope="module")
def pex(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("dist") / "ledger.pex"
    file.write_bytes(b"a program")
    return file


def steps(world: World) -> list[str]:
    (release,) = world.journal.releases()
    return [str(each.step) for each in release.steps]


def effects(world: World) -> dict[str, int]:
    return {what: many for what, many in world.town.effects.items() if many}


def test_a_good_release_goes_through_all_steps_in_order(pex):
    world = World(pex)

    release = world.live(world.release())

    assert release.outcome is ReleaseOutcome.PROMOTED
    assert steps(world) == list(GOOD)
    assert (world.town.running, world.town.canary, world.recorded) == (NEW, "", [NEW])
    assert [verdict.step for verdict in world.told] == list(GOOD)
    assert all(verdict.release == release.id for verdict in world.told)
    assert world.hand.moment < MOMENTS_MAX


@pytest.mark.parametrize("answer", [GateAnswer.NO, GateAnswer.UNKNOWN])
def test_what_the_gate_does_not_say_yes_to_changes_nothing(pex, answer):
    world = World(pex, gate=said(answer, "the partner reads booked_at"))

    release = world.live(world.release())

    assert (release.outcome, release.answer) == (ReleaseOutcome.REFUSED, answer)
    assert release.why == ["the partner reads booked_at"]
    assert steps(world) == ["package", "gate"]
    assert not effects(world)
    assert not world.recorded


@pytest.mark.parametrize("answer", [GateAnswer.NO, GateAnswer.UNKNOWN])
def test_what_the_judge_does_not_say_yes_to_is_reverted(pex, answer):
    world = World(pex, judge=said(answer, "1 in 10 fails"))

    release = world.live(world.release())

    assert (release.outcome, release.answer) == (ReleaseOutcome.REVERTED, answer)
    assert release.why == ["1 in 10 fails"]
    assert (world.town.running, world.town.canary, world.recorded) == (OLD, "", [])


def test_a_promotion_that_fails_goes_back(pex):
    world = World(pex)
    world.town.fails = ("promote", "2 of 3 instances did not become healthy")

    release = world.live(world.release())

    assert (release.outcome, release.answer) == (ReleaseOutcome.REVERTED, GateAnswer.NO)
    assert release.why == ["2 of 3 instances did not become healthy"]
    assert steps(world) == [*GOOD[:8], "revert"]
    assert (world.town.running, world.recorded) == (OLD, [])


def test_a_migration_that_fails_starts_no_canary(pex):
    world = World(pex)
    world.town.fails = ("migrations", "lock timeout")

    release = world.live(world.release())

    assert (release.outcome, release.why) == (ReleaseOutcome.REFUSED, ["lock timeout"])
    assert "canary" not in effects(world)


@settings(max_examples=250, deadline=None)
@given(
    kills=st.frozensets(st.integers(1, MOMENTS_MAX), max_size=12),
    good=st.booleans(),
)
def test_killed_anywhere_it_ends_the_same_with_each_effect_once(pex, kills, good):
    world = World(pex, hand=Hand(kills))
    world.judge = world.judge if good else said(GateAnswer.NO)

    release = world.live(world.release())

    last = ("promote",) if good else ("revert",)
    assert effects(world) == dict.fromkeys(("artifact", "migrations", "canary", *last), 1)
    wanted = list(GOOD) if good else [*GOOD[:7], "revert"]
    assert steps(world) == wanted
    assert [verdict.step for verdict in world.told] == wanted
    assert world.recorded == ([NEW] if good else [])
    assert world.town.running == (NEW if good else OLD)
    # A step that has ended is not done again; one that may have been, is.
    for entry in release.steps:
        asked = world.town.asked[entry.step] or world.decided[entry.step] or entry.tries
        assert asked <= entry.tries, entry
    assert sum(entry.tries - 1 for entry in release.steps) <= len(kills)


@pytest.mark.parametrize("moment", range(1, MOMENTS_MAX))
def test_aborted_from_anywhere_nothing_of_it_is_left(pex, moment):
    """Unless it was being promoted: then it goes on, and is rolled back like any other."""
    world = World(pex, hand=Hand(frozenset({moment})))
    first = world.release()
    with suppress(Killed):
        world.deploying().run(first)
    kept = world.journal.under_way("prod")
    if kept is None:
        return
    promoting = kept.entry(ReleaseStep.PROMOTE) is not None
    kept.aborted = "aborted by asha"

    release = world.deploying().run(kept)

    assert release.outcome in (
        {ReleaseOutcome.PROMOTED}
        if promoting
        else {ReleaseOutcome.REVERTED, ReleaseOutcome.REFUSED}
    )
    assert (world.town.running, world.town.canary) == (NEW if promoting else OLD, "")


def test_another_file_than_the_one_that_passed_the_gate_does_not_go_out(tmp_path):
    pex = tmp_path / "ledger.pex"
    pex.write_bytes(b"gated")
    world = World(pex)
    release = world.release()
    gate = world.deploying().gate

    def spoilt(each):
        pex.write_bytes(b"another")
        return gate(each)

    with pytest.raises(CannotGoOn, match="passed the gate"):
        replaced(world.deploying(), gate=spoilt).run(release)

    assert not effects(world)
    pex.write_bytes(b"gated")
    assert world.live(release).outcome is ReleaseOutcome.PROMOTED


def test_a_package_of_another_commit_does_not_go_out(pex):
    world = World(pex)

    def of_another(_release):
        raise CannotGoOn("ledger.pex is not made of ledger@bbbbbbbbbb")

    with pytest.raises(CannotGoOn, match="is not made of"):
        replaced(world.deploying(), pex=of_another).run(world.release())

    assert not effects(world)
    assert world.live(world.release()).outcome is ReleaseOutcome.PROMOTED


def test_other_bytes_of_a_commit_that_went_out_are_a_finding(tmp_path):
    first, second = tmp_path / "first.pex", tmp_path / "second.pex"
    first.write_bytes(b"made here")
    second.write_bytes(b"made there")
    world = World(first)
    world.live(world.release())
    again = replaced(world.deploying(), pex=lambda _: second)
    later = world.release()
    later.id = "20261102T100000-2"

    release = again.run(later)

    entry = release.entry(ReleaseStep.PACKAGE)
    assert entry.done.notes == [
        "the same commit went out with other bytes: SHA-256"
        f" {sha256_of(first)} in release 20261102T090000-1"
    ]


BACK = {"kind": ReleaseKind.ROLLBACK, "pex_sha256": "c" * 64, "artifact_url": "http://x/ledger.pex"}


def test_the_way_back_needs_no_canary_and_no_judge(pex):
    world = World(pex, judge=said(GateAnswer.NO, "too few requests to say"))

    release = world.live(world.release(**BACK))

    assert release.outcome is ReleaseOutcome.PROMOTED
    assert steps(world) == ["gate", "artifact", "promote", "record"]
    assert (world.town.running, world.recorded) == (NEW, [NEW])
    assert {verdict.pex_sha256 for verdict in world.told} == {"c" * 64}


@pytest.mark.parametrize("moment", range(1, 40))
def test_the_way_back_killed_anywhere_ends_the_same(pex, moment):
    world = World(pex, hand=Hand(frozenset({moment})))

    release = world.live(world.release(**BACK))

    assert release.outcome is ReleaseOutcome.PROMOTED
    assert effects(world) == {"promote": 1}
    assert steps(world) == ["gate", "artifact", "promote", "record"]


def test_a_way_back_that_fails_leaves_what_was_there(pex):
    world = World(pex)
    world.town.fails = ("promote", "it did not become ready")

    release = world.live(world.release(**BACK))

    assert (release.outcome, release.why) == (
        ReleaseOutcome.REVERTED,
        ["it did not become ready"],
    )
    assert steps(world) == ["gate", "artifact", "promote", "revert"]
    assert (world.town.running, world.recorded) == (OLD, [])


def replaced(deploying, **more):
    fields = {name: getattr(deploying, name) for name in Deploying.__slots__}
    return Deploying(**{**fields, **more})
