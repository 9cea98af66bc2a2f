"""A canary is as good as what is there until the numbers can hardly be chance; then it is worse.

Both serve the same requests at the same time, so whatever the load, the hour and the network do,
they do to both: they are compared with each other and not with limits that somebody once set.

The test is Fisher's exact one, one-sided: of all ways in which the errors of both could have fallen
on the requests of both, in how many does the canary have as many as it has? It holds for the few
requests that a canary gets (a χ² or a z-test does not, and a Bayesian one wants a prior), and it
knows that few requests of the stable instances say little about them. Where nothing is there to
compare with, the question is how likely that many errors are at ERRORS_EXPECTED.

One in ten requests that fail is seen after twenty or thirty of them; one error in a hundred, which
anybody has, is not. The judge looks many times and stops at the first no, which finds chance more
often than one look does: LOOKS_MAX looks share ALPHA (Bonferroni), so at most one good release in a
hundred is sent back for nothing. A difference of less than RATE_WORSE_MIN is no reason, however
certain: with enough requests everything is significant.

Latency is compared without any belief about its shape: the bound that some five in a hundred stable
requests exceed is found, and the same test asks whether the canary's exceed it more often. And it
is held against the service's own objective, which a few requests can miss that hardly move a
percentile: more of them than it allows, and by as much more often than the stable ones, is a no. A
canary that may have missed it (SUSPECT) gets no yes yet: it is looked at until that is settled.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import exp, lgamma, log, log1p

from cbs.platform.declaration import Objective
from cbs.tools.release.deploy.metrics_samples import InstanceSample
from cbs.tools.release.deploy.releases import Done
from cbs.tools.release.gate.records import Reason, no, unknown, worst, yes

ALPHA, SUSPECT, LOOKS_MAX = 0.01, 0.05, 20
ERRORS_EXPECTED = 0.001
RATE_WORSE_MIN = 0.002
SLOW_SHARE, SLOW_TIMES_MIN, SLOW_WORSE_MIN = 0.05, 2.0, 0.05
SLOW_WITHOUT_STABLE_SECONDS = 1.0
REQUESTS_MIN = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryWindow:
    """What canary and stable instances did since the canary took part, and for how long."""

    canary: InstanceSample
    stable: InstanceSample | None
    seconds: float
    requests_min: int = REQUESTS_MIN
    objective: Objective = field(default_factory=Objective)


def health(state: str, window: CanaryWindow) -> Reason:
    """`state` is what the cluster says is wrong with the canary; "" if nothing is."""
    if state:
        return no(f"the canary is not healthy: {state}", "read its log (./cbs cluster status)")
    if not window.canary.ready:
        return no(f"the canary is not ready: {window.canary.why}", "read its log")
    return yes(f"the canary was ready for {window.seconds:.0f} s")


def errors(window: CanaryWindow) -> Reason:
    """Seen early if it is bad; a yes needs enough requests."""
    canary, stable = window.canary, window.stable
    told = _rate(canary.errors, canary.requests)
    if stable is not None and stable.requests:
        beside = f", of the stable instances {_rate(stable.errors, stable.requests)}"
        chance = tail(canary.errors, canary.requests, stable.errors, stable.requests)
        usual = stable.errors / stable.requests
    else:
        beside = f", and nothing stable to compare with (usual: {ERRORS_EXPECTED:.1%})"
        chance = binomial_tail(canary.errors, canary.requests, ERRORS_EXPECTED)
        usual = ERRORS_EXPECTED
    worse = canary.requests > 0 and canary.errors / canary.requests - usual >= RATE_WORSE_MIN
    if worse and chance < ALPHA / LOOKS_MAX:
        why = f"of the canary's requests {told} failed{beside}: chance 1 in {1 / chance:,.0f}"
        return no(why, "read the canary's log for the first of them")
    return _enough(window) or yes(f"of the canary's requests {told} failed{beside}")


def latency(window: CanaryWindow) -> Reason:
    canary, stable = window.canary, window.stable
    if not canary.slower or not canary.requests:
        return _enough(window) or yes("no request of the canary was timed")
    if stable is not None and stable.requests and stable.slower:
        bound = _bound(stable)
        slow, usual = stable.slower[bound], stable.slower[bound] / stable.requests
        beside = f", of the stable instances' {_rate(slow, stable.requests)}"
        chance = tail(canary.slower.get(bound, 0), canary.requests, slow, stable.requests)
    else:
        bound = min(b for b in canary.slower if b >= SLOW_WITHOUT_STABLE_SECONDS)
        usual, beside = SLOW_SHARE / SLOW_TIMES_MIN, ", and nothing stable to compare with"
        chance = binomial_tail(canary.slower[bound], canary.requests, SLOW_SHARE)
    slow = canary.slower.get(bound, 0)
    share, told = slow / canary.requests, _rate(slow, canary.requests)
    worse = share >= usual * SLOW_TIMES_MIN and share - usual >= SLOW_WORSE_MIN
    what = f"of the canary's requests {told} took over {bound * 1000:g} ms{beside}"
    if worse and chance < ALPHA / LOOKS_MAX:
        return no(f"{what}: chance 1 in {1 / chance:,.0f}", "profile it, or give it time to warm")
    return _enough(window) or yes(what)


def objective(window: CanaryWindow) -> Reason:
    canary, stable, allowed = window.canary, window.stable, window.objective.slow_share
    bound = min((b for b in canary.slower if b >= window.objective.slow_seconds), default=None)
    if bound is None or not canary.requests:
        return _enough(window) or yes("no request of the canary was timed")
    slow = canary.slower[bound]
    if stable is not None and stable.requests:
        usual = stable.slower.get(bound, 0) / stable.requests
        chance = tail(slow, canary.requests, stable.slower.get(bound, 0), stable.requests)
    else:
        usual, chance = 0.0, binomial_tail(slow, canary.requests, allowed)
    what = (
        f"of the canary's requests {_rate(slow, canary.requests)} took over {bound * 1000:g} ms,"
        f" the objective allows {allowed:.0%}, and the stable instances have {usual:.1%}"
    )
    missed = slow / canary.requests - usual > allowed
    if missed and chance < ALPHA / LOOKS_MAX:
        return no(f"{what}: chance 1 in {1 / chance:,.0f}", "find out which, and profile those")
    if missed and usual <= allowed and chance < SUSPECT:
        return unknown(f"{what}: it may have missed it", "give it longer (--window)")
    return _enough(window) or yes(what)


def judge_reasons(reasons: Sequence[Reason]) -> Done:
    return Done(answer=worst(reason.answer for reason in reasons), reasons=list(reasons))


def _bound(stable: InstanceSample) -> float:
    """The least that no more than SLOW_SHARE of the stable requests exceed."""
    slow = (b for b, many in stable.slower.items() if many <= SLOW_SHARE * stable.requests)
    return min(slow, default=max(stable.slower))


def _enough(window: CanaryWindow) -> Reason | None:
    if window.canary.requests >= window.requests_min:
        return None
    return unknown(
        f"too few to say: the canary answered {window.canary.requests} requests in"
        f" {window.seconds:.0f} s, {window.requests_min} are needed",
        "deploy under load, give it longer (--window), or ask for fewer (--requests)",
    )


# --- how likely it is ----------------------------------------------------------------------------


def tail(k: int, n: int, other_k: int, other_n: int) -> float:
    """Fisher's exact test, one-sided: how likely k or more of all are among these n."""
    total, marked = n + other_n, k + other_k
    whole = _choose(total, marked)
    ways = (
        _choose(n, i) + _choose(other_n, marked - i)
        for i in range(k, min(n, marked) + 1)
        if marked - i <= other_n
    )
    return _sum(each - whole for each in ways)


def binomial_tail(k: int, n: int, p: float) -> float:
    """How likely k or more of n are, each with probability p."""
    if k == 0:
        return 1.0
    return _sum(_choose(n, i) + i * log(p) + (n - i) * log1p(-p) for i in range(k, n + 1))


def _choose(n: int, k: int) -> float:
    """The logarithm: the number itself has thousands of digits."""
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)


def _sum(logarithms: Iterable[float]) -> float:
    # Never quite 0, which no number of observations justifies and 1/p would not bear.
    return min(1.0, max(1e-300, sum(exp(each) for each in logarithms)))


def _rate(many: int, of: int) -> str:
    return f"{many} of {of}" + (f" ({many / of:.1%})" if of else "")
