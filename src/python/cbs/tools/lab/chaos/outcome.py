"""The outcome of breaking a bank: what was done to it, what it did, and what it did not keep."""

from collections import Counter
from collections.abc import Iterator

import msgspec
from rich.console import Console

from cbs.tools.lab.chaos.convergence import Convergence
from cbs.tools.lab.chaos.faults import FULL, KILL, LOSE
from cbs.tools.lab.chaos.records import Violation
from cbs.tools.lab.chaos.resolve_unanswered import Resolved
from cbs.tools.ops.verify.verify import Finding, line

SOON_SECONDS = 1.0
VIOLATIONS_SHOWN_MAX, WAITED_SHOWN_MAX = 5, 5
AFTER = {"": "usual faults", LOSE: "NATS's data lost", FULL: "full disks"}


class ChaosOutcome(msgspec.Struct, kw_only=True):
    """`faults` count as `kill ledger`, and `untried` says why a kind was not. `silences` are tries
    without an answer, by the reason. `convergence` has one figure a round; `verify` is of the last
    one."""

    seed: int
    seconds: float
    faults: dict[str, int]
    untried: dict[str, str]
    kills: int
    clients: int
    requests: dict[str, int]
    silences: dict[str, int]
    refusals: dict[str, int]
    resolved: Resolved
    asked_again: int
    convergence: list[Convergence]
    errors_logged: dict[str, int]
    ended_by_themselves: dict[str, int]
    memory_mib_before: dict[str, int]
    memory_mib_after: dict[str, int]
    violations: list[Violation]
    verify: list[Finding]

    @property
    def broken(self) -> bool:
        return bool(self.violations) or any(f.outcome == "violated" for f in self.verify)

    @property
    def uncertain(self) -> bool:
        return any(finding.outcome == "unknown" for finding in self.verify)


def show(outcome: ChaosOutcome, console: Console) -> None:
    for text in lines(outcome):
        console.print(text)


def lines(outcome: ChaosOutcome) -> list[str]:
    requests, resolved = outcome.requests, outcome.resolved
    left_open = resolved.was_answered + resolved.under_way + resolved.had_no_effect
    holding = sum(finding.outcome == "holds" for finding in outcome.verify)
    said = [
        f"faults       {_counts(_by_kind(outcome.faults))}, in {outcome.seconds:.0f} s,"
        f" seed {outcome.seed}",
        *(f"not tried    {kind}: {why}" for kind, why in outcome.untried.items()),
        f"killed       {_counts(_of_kind(outcome.faults, KILL)) or 'nothing'}",
        f"requests     {requests['asked']} of {outcome.clients} clients,"
        f" in {requests['tries']} tries: {requests['accepted']} accepted,"
        f" {requests['refused']} refused ({_counts(outcome.refusals)})",
        f"no answer    {_counts(outcome.silences) or 'none'}",
        f"left open    {left_open}: {resolved.was_answered} had been answered,"
        f" {resolved.under_way} were under way, {resolved.had_no_effect} had had no effect;"
        f" repeated: {resolved.accepted} accepted, {resolved.refused} refused",
        f"asked again  {outcome.asked_again} that had been answered",
        *_converged(outcome.convergence),
        f"memory MiB   {_memory(outcome)}",
        f"ended        by themselves: {_counts(outcome.ended_by_themselves) or 'none'}",
        f"logged       {_counts(outcome.errors_logged) or 'no error'}",
        f"verify       {holding} of {len(outcome.verify)} invariants hold",
    ]
    said += [line(finding) for finding in outcome.verify if finding.outcome != "holds"]
    return said + list(_violated(outcome.violations))


def _violated(violations: list[Violation]) -> Iterator[str]:
    """Some of each promise that was not kept."""
    for promise, count in Counter(each.promise for each in violations).items():
        yield f"VIOLATED     {promise}: {count} times"
        some = [each for each in violations if each.promise == promise]
        yield from (f"    {each.about}: {each.found}" for each in some[:VIOLATIONS_SHOWN_MAX])


def _converged(rounds: list[Convergence]) -> Iterator[str]:
    for after, what in AFTER.items():
        some = sorted((each for each in rounds if each.after == after), key=lambda r: r.seconds)
        if not some:
            continue
        slowest, median = some[-1], some[len(some) // 2].seconds
        late = sum(each.seconds > each.due_seconds for each in some)
        waited = sorted(slowest.queues.items(), key=lambda each: -each[1])[:WAITED_SHOWN_MAX]
        for_what = ", ".join(f"{queue} {at} s" for queue, at in waited if at > SOON_SECONDS)
        yield (
            f"converged    after {what}: {len(some)} times within {slowest.seconds} s"
            f" (median {median} s, due {slowest.due_seconds:.0f} s)"
            f"{f'; the slowest waited for {for_what}' if for_what else ''}"
            f"{f'; {late} too late' if late else ''}"
        )


def _by_kind(faults: dict[str, int]) -> dict[str, int]:
    found: Counter[str] = Counter()
    for what, count in faults.items():
        found[what.partition(" ")[0]] += count
    return dict(found)


def _of_kind(faults: dict[str, int], kind: str) -> dict[str, int]:
    each = (what.partition(" ") for what in faults)
    return {part: faults[f"{kind} {part}"] for found, _, part in each if found == kind}


def _memory(outcome: ChaosOutcome) -> str:
    before = outcome.memory_mib_before
    each = outcome.memory_mib_after.items()
    return ", ".join(f"{part} {before.get(part, 0)}->{after}" for part, after in each)


def _counts(counted: dict[str, int]) -> str:
    return ", ".join(f"{count} {what}" for what, count in sorted(counted.items()))
