"""The judge watches a canary at work: it says no as soon as it is sure, and yes only at the end."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from cbs.tools.release.deploy import judge
from cbs.tools.release.deploy.judge import LOOKS_MAX, REQUESTS_MIN, CanaryWindow
from cbs.tools.release.deploy.metrics_samples import InstanceSample, InstanceUrls
from cbs.tools.release.deploy.money import BankLook, money
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

    def before(self, release: Release) -> dict[str, str]:
        """What the money is compared with, to be kept with the release."""
        return {MONEY: msgspec.json.encode(self.look()).decode()}

    def __call__(self, release: Release) -> Done:
        """Raises CannotGoOn."""
        canary = self._healthy(release)
        if canary.state is not CanaryState.HEALTHY:
            why = canary.why or f"not healthy after {self.healthy_seconds_max:.0f} s"
            return judge.judge_reasons(
                [judge.health(why, self._window(InstanceSample(), None, 0.0))]
            )
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
        first = {place: self.sample(place) for place in (*canary.canaries, *canary.stable)}
        looks = LOOKS_MAX
        while True:
            # The looks are shared out over the longest it can take.
            self.sleep(WINDOWS_MAX * self.window_seconds / LOOKS_MAX)
            now = self.environment.canary(release)
            looks, seconds = looks - 1, self.clock() - began
            window = self._window(
                self._since(first, now.canaries or canary.canaries) or InstanceSample(ready=False),
                self._since(first, now.stable),
                seconds,
            )
            wrong = now.why if now.state is CanaryState.FAILED else _restarted(first, now)
            reasons = [judge.health(wrong, window), judge.errors(window), judge.latency(window)]
            done = judge.judge_reasons(reasons)
            self.say(f"  {seconds:.0f} s: {window.canary.requests} requests, {done.answer}")
            enough = done.answer is GateAnswer.YES and seconds >= self.window_seconds
            if done.answer is GateAnswer.NO or enough or looks <= 0:
                return done

    def _since(
        self, first: dict[InstanceUrls, InstanceSample], places: Sequence[InstanceUrls]
    ) -> InstanceSample | None:
        """Of all these instances together; one that came later is counted from then on."""
        total: InstanceSample | None = None
        for place in places:
            sample = self.sample(place)
            each = sample.since(first.setdefault(place, sample))
            total = each if total is None else total + each
        return total

    def _window(
        self, canary: InstanceSample, stable: InstanceSample | None, seconds: float
    ) -> CanaryWindow:
        return CanaryWindow(
            canary=canary, stable=stable, seconds=seconds, requests_min=self.requests_min
        )


def _restarted(first: dict[InstanceUrls, InstanceSample], now: Canary) -> str:
    """A canary that crashed comes back elsewhere, as if it were another."""
    new = [str(place) for place in now.canaries if place not in first]
    return f"it began anew at {', '.join(new)}" if new else ""
