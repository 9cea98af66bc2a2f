"""What an instance did is what its counters say, read twice: Prometheus text of `/metrics`."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families

from cbs.tools.local.health import get_at

ANSWER_SECONDS_MAX, SAID_BYTES_SHOWN, OK = 5.0, 200, 200
# What the service itself got wrong; a refusal is an answer.
FAILED_ON_THE_BUS = frozenset({"error", "timeout", "unavailable"})


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceSample:
    """Counters since the start of an instance. `slower` counts what took longer than a bound, by
    bound; `ready` is what it says of itself, and `why` what kept it from saying more."""

    ready: bool = True
    requests: int = 0
    errors: int = 0
    slower: Mapping[float, int] = field(default_factory=dict)
    why: str = ""

    def since(self, earlier: "InstanceSample") -> "InstanceSample":
        """What happened between two samples; all of it, if the instance began anew between."""
        if self.requests < earlier.requests:
            return self
        return InstanceSample(
            ready=self.ready,
            requests=self.requests - earlier.requests,
            errors=self.errors - earlier.errors,
            slower={bound: n - earlier.slower.get(bound, 0) for bound, n in self.slower.items()},
            why=self.why,
        )

    def __add__(self, other: "InstanceSample") -> "InstanceSample":
        bounds = self.slower.keys() | other.slower.keys()
        return InstanceSample(
            ready=self.ready and other.ready,
            requests=self.requests + other.requests,
            errors=self.errors + other.errors,
            slower={b: self.slower.get(b, 0) + other.slower.get(b, 0) for b in sorted(bounds)},
            why=self.why or other.why,
        )


def sample_of(text: str) -> InstanceSample:
    """Of what `/metrics` answered. Raises ValueError if it is no Prometheus text."""
    requests = errors = timed = 0
    within: dict[float, int] = {}
    for family in text_string_to_metric_families(text):
        for name, labels, value, *_ in family.samples:
            if name == "cbs_requests_total":
                requests += int(value)
                errors += int(value) if _failed(labels) else 0
            elif name == "cbs_request_seconds_count":
                timed += int(value)
            elif name == "cbs_request_seconds_bucket" and labels["le"] != "+Inf":
                bound = float(labels["le"])
                within[bound] = within.get(bound, 0) + int(value)
    slower = {bound: timed - many for bound, many in sorted(within.items())}
    return InstanceSample(requests=requests, errors=errors, slower=slower)


def _failed(labels: Mapping[str, str]) -> bool:
    outcome = labels.get("outcome", "")
    return (
        outcome.startswith("5")
        if labels.get("protocol") == "http"
        else (outcome in FAILED_ON_THE_BUS)
    )


class InstanceUrls(NamedTuple):
    """Where an instance says how it is: URLs, which behind a sidecar are two."""

    ready: str
    metrics: str

    def __str__(self) -> str:
        return self.ready


def sampled(place: InstanceUrls) -> InstanceSample:
    """Of the instance there, now; one that does not answer is not ready."""
    ready, _ = get_at(place.ready, "/health/ready", seconds=ANSWER_SECONDS_MAX)
    status, said = get_at(place.metrics, "/metrics", seconds=ANSWER_SECONDS_MAX)
    try:
        if status != OK:
            raise ValueError(f"{status} {said[:SAID_BYTES_SHOWN].decode(errors='replace')}")
        sample = sample_of(said.decode())
    except ValueError as error:
        return InstanceSample(ready=False, why=f"{place} does not tell: {error}")
    why = "" if ready == OK else f"{place}/health/ready says {ready}"
    return replace(sample, ready=ready == OK, why=why)
