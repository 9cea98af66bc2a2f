"""The outcome of breaking a bank: what was done to it, what it did, and what it did not keep."""

from collections import Counter
from collections.abc import Iterator

import msgspec
from rich.console import Console

from cbs.dev.breaking.records import Violation
from cbs.dev.breaking.settling import Convergence, Resolved
from cbs.dev.verifying.verify import Finding, line

CONVERGED_SECONDS_DUE, SOON_SECONDS = 10.0, 1.0
VIOLATIONS_SHOWN_MAX = 5
GREW_TIMES, GREW_MIB = 1.5, 64


class Outcome(msgspec.Struct, kw_only=True):
    """`faults` count as `kill ledger`; `silences` are tries without an answer, by the reason.
    `convergence` has one figure a round; `verify` is of the last one."""

    seed: int
    seconds: float
    faults: dict[str, int]
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


def show(outcome: Outcome, console: Console) -> None:
    for text in lines(outcome):
        console.print(text)


def lines(outcome: Outcome) -> list[str]:
    requests, resolved = outcome.requests, outcome.resolved
    left_open = resolved.was_answered + resolved.under_way + resolved.had_no_effect
    holding = sum(finding.outcome == "holds" for finding in outcome.verify)
    said = [
        f"faults       {_counts(outcome.faults)} in {outcome.seconds:.0f} s, seed {outcome.seed}",
        f"requests     {requests['asked']} of {outcome.clients} clients,"
        f" in {requests['tries']} tries: {requests['accepted']} accepted,"
        f" {requests['refused']} refused ({_counts(outcome.refusals)})",
        f"no answer    {_counts(outcome.silences) or 'none'}",
        f"left open    {left_open}: {resolved.was_answered} had been answered,"
        f" {resolved.under_way} were under way, {resolved.had_no_effect} had had no effect;"
        f" repeated: {resolved.accepted} accepted, {resolved.refused} refused",
        f"asked again  {outcome.asked_again} that had been answered",
        f"converged    {_converged(outcome.convergence)}",
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


def _converged(rounds: list[Convergence]) -> str:
    seconds = sorted(each.seconds for each in rounds)
    queues = max(each.queues_seconds for each in rounds)
    late = sum(each > CONVERGED_SECONDS_DUE for each in seconds)
    slowest = max(rounds, key=lambda each: each.seconds).queues.items()
    waited = ", ".join(f"{queue} {at} s" for queue, at in slowest if at > SOON_SECONDS)
    return (
        f"{len(rounds)} times, each within {seconds[-1]} s (median {seconds[len(seconds) // 2]} s;"
        f" queues empty within {queues} s) after the last part was ready"
        f"{f'; the slowest waited for {waited}' if waited else ''}"
        f"{f'; {late} times later than {CONVERGED_SECONDS_DUE:.0f} s' if late else ''}"
    )


def _memory(outcome: Outcome) -> str:
    said = []
    for part, after in outcome.memory_mib_after.items():
        before = outcome.memory_mib_before.get(part, 0)
        grew = after > max(GREW_TIMES * before, before + GREW_MIB)
        said.append(f"{part} {before}->{after}{' GREW' if grew else ''}")
    return ", ".join(said)


def _counts(counted: dict[str, int]) -> str:
    return ", ".join(f"{count} {what}" for what, count in sorted(counted.items()))
