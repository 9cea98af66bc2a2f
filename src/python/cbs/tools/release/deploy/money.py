"""A release may be fast and never fail, and book wrongly: the bank's own invariants judge it.

A release does not begin while they are violated, unless somebody signs for that: one that mends it
must get out. Of the canary, then, only what is worse than before it counts.
"""

import asyncio
from collections.abc import Callable, Mapping

import msgspec

from cbs.tools.ops.verify.snapshots import DatabasePlace, Snapshots
from cbs.tools.ops.verify.verify import UNANSWERED, Finding, findings
from cbs.tools.release.gate.records import Reason, no, unknown, yes

STUCK_SECONDS_MAX = 60
# A step's reasons have to fit into the audit log.
ROWS_NAMED_MAX = 5
LETTERS_CHECK, MORE = "dead-letters", "and more"
LETTERS = "SELECT count(*) FROM dead_letter WHERE replayed_at IS NULL"
# Before its migration a service has no such table yet.
HAS_SAGAS = "SELECT to_regclass('saga') IS NOT NULL AS has"
STUCK = """
    SELECT count(*) FROM saga
    WHERE step <> 'done' AND begun_at < now() - make_interval(secs => $1)"""


class BankLook(msgspec.Struct, kw_only=True, frozen=True):
    """A look at the bank. `violated` has the rows that break a check, by check, as text; those of
    dead letters are counted instead, by service. `stuck` are sagas unfinished for too long."""

    violated: dict[str, list[str]] = {}
    unknown: dict[str, str] = {}
    letters: dict[str, int] = {}
    stuck: int = 0
    checks: int = 0


def looked(
    places: Mapping[str, DatabasePlace], *, say: Callable[[str], None], may_lose: bool = False
) -> BankLook:
    """At a bank that is working. What cannot be looked at is `unknown`, and why."""
    try:
        return asyncio.run(look(places, say=say, may_lose=may_lose))
    except UNANSWERED as error:
        return BankLook(unknown={"the bank": str(error) or repr(error)})


async def look(
    places: Mapping[str, DatabasePlace],
    *,
    say: Callable[[str], None],
    stuck_seconds_max: float = STUCK_SECONDS_MAX,
    may_lose: bool = False,
) -> BankLook:
    """Raises what `cbs verify` cannot answer with: UNANSWERED."""
    found = await findings(places, say=say, tell=lambda _: None, may_lose=may_lose)
    # Only counted, and now: nobody needs to have heard anything for it.
    snapshots = Snapshots(places=places, hears=dict.fromkeys(places, ()))
    async with snapshots.taken(say):
        letters = {
            service: int((await snapshots.now(service, LETTERS))[0]["count"]) for service in places
        }
        stuck = 0
        for service in places:
            if (await snapshots.now(service, HAS_SAGAS))[0]["has"]:
                stuck += (await snapshots.now(service, STUCK, stuck_seconds_max))[0]["count"]
    book = [each for each in found if each.check != LETTERS_CHECK]
    return BankLook(
        violated={_name(each): _rows(each) for each in book if each.outcome == "violated"},
        unknown={_name(each): each.why for each in book if each.outcome == "unknown"},
        letters=letters,
        stuck=stuck,
        checks=len(book),
    )


def known(look: BankLook, *, despite: str, by: str) -> tuple[list[Reason], list[str]]:
    """Whether a release may begin with the bank as it is, and what is to be noted. `despite` is why
    it may although an invariant is violated."""
    held = yes(f"what the canary is held against is known: {look.checks} invariants")
    if not look.violated:
        return [held], []
    if despite:
        names = ", ".join(look.violated)
        return [held], [f"violated already, and {by} signs for it ({despite}): {names}"]
    return [
        no(
            f"{name} is violated already by {_named(rows)}",
            "repair it (./cbs verify shows all rows), or sign for it: --despite-violations WHY",
        )
        for name, rows in look.violated.items()
    ], []


def money(before: BankLook, after: BankLook) -> list[Reason]:
    """What became worse, each with its numbers; else that nothing did."""
    reasons = [reason for name in after.violated for reason in _broken(name, before, after)]
    for service, many in after.letters.items():
        if many > (was := before.letters.get(service, 0)):
            why = f"{service} has {many} dead letters, {was} before the canary"
            reasons.append(no(why, "./cbs dead-letters list tells what was in them"))
    if after.stuck > before.stuck:
        why = f"{after.stuck} sagas are stuck, {before.stuck} before the canary"
        reasons.append(no(why, "they are finished by the accounts service when it can"))
    for name, why in after.unknown.items():
        reasons.append(unknown(f"{name} cannot be said: {why}", "./cbs verify must be able to say"))
    return reasons or [yes(_well(after))]


def _broken(name: str, before: BankLook, after: BankLook) -> list[Reason]:
    rows, known = after.violated[name], before.violated.get(name, [])
    new = [row for row in rows if row not in known]
    if not new and MORE in known:
        why = f"{name} was violated by more rows than are shown before the canary, and still is"
        return [unknown(why, "mend those first")]
    if not new:
        return []
    more = f"{len(new)} rows more than before the canary"
    why = f"{name} is violated by {more}: {_named(new)}"
    return [no(why, "block what it wrote and reverse it; ./cbs verify shows all rows")]


def _named(rows: list[str]) -> str:
    return "; ".join(rows[:ROWS_NAMED_MAX]) + ("" if len(rows) <= ROWS_NAMED_MAX else "; …")


def _well(after: BankLook) -> str:
    broken = f", {len(after.violated)} violated as before" if after.violated else ""
    return (
        f"{after.checks} invariants checked{broken}; {sum(after.letters.values())} dead letters, no"
        f" more than before; {after.stuck} stuck changes, no more than before"
    )


def _name(finding: Finding) -> str:
    return f"{finding.service}/{finding.check}"


def _rows(finding: Finding) -> list[str]:
    rows = [", ".join(f"{k} {v}" for k, v in row.items()) for row in finding.rows]
    return [*rows, MORE] if finding.more else rows
