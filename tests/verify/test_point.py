"""From the last verified point on, facts and the audit log are checked, and rows as ever."""

import pytest

from cbs.platform.invariants import CannotSay
from cbs.tools.ops.verify import point
from cbs.tools.ops.verify.point import Point
from tests.verify.bank import ANN, BOB, broken, verified, working
from tests.verify.planted import FIRST, planted, replaced

OUT_OF_TRUE = "UPDATE outbox SET subject = 'cbs.ledger.events.account-frozen' WHERE position ="
LAST = "(SELECT max(position) FROM outbox)"
LAST_KEPT = "(SELECT max(index) FROM audit_entry WHERE source = 'ledger')"


async def reached(bank) -> Point:
    points: list[Point] = []
    assert broken(await verified(bank, reached=points.append)) == {}
    (now,) = points
    return now


async def gone_on(bank, nats_url, folder) -> None:
    async with working(bank, nats_url=nats_url, folder=folder) as served:
        assert (await served.post("transfer", ANN, BOB, 1)).status_code == 201
        await served.caught_up()


async def test_what_came_after_the_point_is_checked_and_what_was_before_it_is_not(
    bank, nats_url, tmp_path
):
    file = tmp_path / "verified.json"
    point.keep(file, await reached(bank))
    since = point.read(file)
    await gone_on(bank, nats_url, tmp_path)
    assert since.positions["ledger"] > 1 and since.tree_size > 1

    assert broken(await verified(bank, since=since)) == {}
    await planted(bank, "ledger", f"{OUT_OF_TRUE} 1")
    assert broken(await verified(bank, since=since)) == {}
    assert set(broken(await verified(bank))) == {"ledger/outbox-true"}
    await planted(bank, "ledger", f"{OUT_OF_TRUE} {LAST}")
    assert set(broken(await verified(bank, since=since))) >= {"ledger/outbox-true"}


async def test_the_audit_log_goes_on_from_the_tree_that_was_verified(bank, nats_url, tmp_path):
    since = await reached(bank)
    await gone_on(bank, nats_url, tmp_path)
    assert (await reached(bank)).tree_size > since.tree_size

    await planted(
        bank,
        "audit",
        f"UPDATE audit_entry SET body = {replaced('INR', 'EUR')} WHERE index = {LAST_KEPT}",
    )

    seen = set(broken(await verified(bank, since=since)))
    assert seen == {"audit/audited-ledger", "audit/log-whole"}


async def test_a_tree_that_is_another_than_the_verified_one_is_found(bank, nats_url, tmp_path):
    since = await reached(bank)
    await gone_on(bank, nats_url, tmp_path)
    since.peaks[0] = "5a" * 32

    assert set(broken(await verified(bank, since=since))) == {"audit/log-whole"}


async def test_rows_are_compared_with_their_facts_however_old_they_are(bank):
    since = await reached(bank)
    await planted(bank, "ledger", f"UPDATE transaction SET actor = 'mallory' WHERE id = {FIRST}")

    assert "ledger/told-as-booked" in broken(await verified(bank, since=since))


async def test_no_point_is_reached_where_something_does_not_hold(bank):
    points: list[Point] = []
    await planted(bank, "audit", "UPDATE audit_head SET root_hash = sha256('')")

    await verified(bank, reached=points.append)

    assert points == []


@pytest.mark.parametrize(
    ("service", "statement", "said"),
    [
        ("ledger", f"DELETE FROM outbox WHERE position = {LAST}", "of ledger is another now"),
        ("accounts", f"UPDATE outbox SET body = '7' WHERE position = {LAST}", "of accounts is an"),
        ("audit", "UPDATE audit_head SET tree_size = 1", "log is shorter than"),
    ],
)
async def test_a_point_that_does_not_fit_the_databases_is_refused(bank, service, statement, said):
    since = await reached(bank)
    await planted(bank, service, statement)

    with pytest.raises(CannotSay, match=f"{said}.*without --from-last"):
        await verified(bank, since=since)


@pytest.mark.parametrize("text", ["", "{", '{"tree_size": 3}', '{"positions": {"ledger": "x"}}'])
def test_a_file_that_tells_no_point_is_refused(tmp_path, text):
    file = tmp_path / "verified.json"
    file.write_text(text)

    with pytest.raises(CannotSay, match="tells no last verified point"):
        point.read(file)
    with pytest.raises(CannotSay, match="tells no last verified point"):
        point.read(tmp_path / "none.json")
