"""The judge watches a canary at work: it says no as soon as it is sure, and yes only at the end."""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import msgspec

from cbs.bank import SERVICES
from cbs.platform.declaration import Objective, declaration_of
from cbs.tools.release.deploy import judge
from cbs.tools.release.deploy.judge import LOOKS_MAX, REQUESTS_MIN, CanaryWindow
from cbs.tools.release.deploy.metrics_samples import InstanceSample, InstanceUrls
from cbs.tools.release.deploy.money import BankLook, known, money
from cbs.tools.release.deploy.releases import Done, Release
from cbs.tools.release.deploy.steps import Canary, CanaryState, ReleaseTarget
from cbs.tools.release.gate.records import GateAnswer

HEALTHY_SECONDS_MAX, WINDOW_SECONDS, POLL_SECONDS = 300.0, 120.0, 1.0
# With too few requests it looks on for this many windows.
WINDOWS_MAX = 3
MONEY = "money"


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """`sample` asks an instance, `look` the bank's money; `sleep` and `clock` are the time's."""

    environment: ReleaseTarget
    sample: Callable[[InstanceUrls], InstanceSample]
    look: Callable[[], BankLook]
    clock: Callable[[], float]
    sleep: Callable[[float], None]
    say: Callable[[str], None]
    window_seconds: float = WINDOW_SECONDS
    requests_min: int = REQUESTS_MIN
    healthy_seconds_max: float = HEALTHY_SECONDS_MAX

    def before(self, release: Release) -> Done:
        """What the money is compared with, to be kept with the release."""
        look = self.look()
        reasons, notes = known(look, despite=release.despite or release.emergency, by=release.by)
        facts = {MONEY: msgspec.json.encode(look).decode()}
        return msgspec.structs.replace(judge.judge_reasons(reasons), notes=notes, facts=facts)

    def __call__(self, release: Release) -> Done:
        """Raises CannotGoOn."""
        canary = self._healthy(release)
        if canary.state is not CanaryState.HEALTHY:
            why = canary.why or f"not healthy after {self.healthy_seconds_max:.0f} s"
            window = CanaryWindow(canary=InstanceSample(), stable=None, seconds=0.0)
            return judge.judge_reasons([judge.health(why, window)])
        done = self._watched(release, canary)
        if done.answer is GateAnswer.NO:
            return done
        before = msgspec.json.decode(release.fact(MONEY), type=BankLook)
        return judge.judge_reasons([*done.reasons, *money(before, self.look())])

    def _healthy(self, release: Release) -> Canary:
        until = self.clock() + self.healthy_seconds_max
        while True:
            canary = self.environment.canary(release)
            if canary.state is not CanaryState.STARTING or self.clock() >= until:
                return canary
            self.sleep(POLL_SECONDS)

    def _watched(self, release: Release, canary: Canary) -> Done:
        began = self.clock()
        first = self._sampled((*canary.canaries, *canary.stable))
        # What it takes to get warm is not held against it: its time counts from the first look.
        warm: dict[InstanceUrls, InstanceSample] = {}
        looks, promised = LOOKS_MAX, _objective(release.application)
        while True:
            # The looks are shared out over the longest it can take.
            self.sleep(WINDOWS_MAX * self.window_seconds / LOOKS_MAX)
            now = self.environment.canary(release)
            looks, seconds = looks - 1, self.clock() - began
            canaries = self._sampled(now.canaries or canary.canaries)
            stable = self._sampled(now.stable)
            window, timed = (
                CanaryWindow(
                    canary=_since(base, canaries) or InstanceSample(ready=False),
                    stable=_since(base, stable),
                    seconds=seconds,
                    requests_min=self.requests_min,
                    objective=promised,
                )
                for base in (first, warm)
            )
            wrong = now.why if now.state is CanaryState.FAILED else _restarted(canary, now)
            reasons = [judge.health(wrong, window), judge.errors(window)]
            reasons += [judge.latency(timed), judge.objective(timed)]
            done = judge.judge_reasons(reasons)
            self.say(f"  {seconds:.0f} s: {window.canary.requests} requests, {done.answer}")
            enough = done.answer is GateAnswer.YES and seconds >= self.window_seconds
            if done.answer is GateAnswer.NO or enough or looks <= 0:
                return done

    def _sampled(self, places: Sequence[InstanceUrls]) -> dict[InstanceUrls, InstanceSample]:
        return {place: self.sample(place) for place in places}


def _since(
    base: dict[InstanceUrls, InstanceSample], now: Mapping[InstanceUrls, InstanceSample]
) -> InstanceSample | None:
    """Of all these instances together; one that came later is counted from then on."""
    each = [sample.since(base.setdefault(place, sample)) for place, sample in now.items()]
    return reduce(operator.add, each) if each else None


def _objective(application: str) -> Objective:
    return declaration_of(application).objective if application in SERVICES else Objective()


def _restarted(before: Canary, now: Canary) -> str:
    """A canary that crashed comes back in its place, or elsewhere as if it were another."""
    # Elsewhere its count begins anew.
    if (again := now.restarts - before.restarts) > 0:
        return f"it was restarted while it was watched: {again} tasks"
    new = [str(place) for place in now.canaries if place not in before.canaries]
    return f"it began anew at {', '.join(new)}" if new else ""
