"""A canary's share of the calls is set before it starts, and gone when its release is over.

Consul's transaction writes all keys or none, so nobody who follows them ever sees a canary without
the version beside it. Bus and gateway follow within seconds, so they are given some.
"""

import base64
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cbs.tools.cluster.api import Api, Declined, NoCluster, kept
from cbs.tools.release.deploy.releases import Release
from cbs.tools.release.deploy.steps import CannotGoOn
from cbs.tools.release.gate.history import SHORT

PLACE, PERCENT_FACT = "cbs/routes", "canary_percent_before"
PERCENT, PERCENT_MAX, FOLLOW_SECONDS = 10, 50, 5.0
UNWEIGHTED = (
    "no Consul is named (CONSUL_HTTP_ADDR), so nobody weighs the canary's calls: on the bus it gets"
    " as many as any instance"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Routes:
    """All of it bears being done twice, and raises CannotGoOn. Without a Consul nothing is done."""

    consul: Api | None = None
    percent: int = PERCENT
    sleep: Callable[[float], None] = time.sleep

    def before(self, release: Release) -> dict[str, str]:
        """What `close` puts back, to be kept with the release."""
        if self.consul is None:
            return {}
        try:
            return {PERCENT_FACT: kept(self.consul, _key(release, "canary-percent")) or ""}
        except (NoCluster, Declined) as error:
            raise CannotGoOn(f"{error}; then --resume") from None

    def open(self, release: Release) -> str:
        """The canary's share is in force when this returns, before there is a canary."""
        if self.consul is None:
            return UNWEIGHTED
        if not release.before:
            return "nothing is there that could share with it"
        wanted = {"canary-percent": str(self.percent)}
        if release.before != release.version:
            wanted |= {"stable": release.before, "canary": release.version}
        self._write(release, wanted)
        share = f"{self.percent} % of the calls go to the canary"
        if release.before == release.version:
            return f"{share} at the gateway; on the bus it is the version that is there already"
        return f"{share}, the rest to {release.before[:SHORT]}"

    def starve(self, release: Release) -> None:
        """Nothing more goes to a canary that is on its way back. After `close` it is none."""
        if self.consul is not None and self._are_there(release):
            self._write(release, {"canary-percent": "0"})

    def close(self, release: Release) -> None:
        """Calls go to any instance, and the percentage is what it was."""
        if self.consul is not None and self._are_there(release):
            before = release.fact(PERCENT_FACT)
            self._write(release, {"canary": None, "stable": None, "canary-percent": before or None})

    def _are_there(self, release: Release) -> bool:
        assert self.consul is not None
        try:
            percent = kept(self.consul, _key(release, "canary-percent"))
            named = kept(self.consul, _key(release, "canary")) == release.version
        except (NoCluster, Declined) as error:
            raise CannotGoOn(f"{error}; then --resume") from None
        return named or (percent or "") != release.fact(PERCENT_FACT)

    def _write(self, release: Release, wanted: Mapping[str, str | None]) -> None:
        """All at once; None takes a key away. Waits until it has been heard of."""
        assert self.consul is not None
        try:
            self.consul.put("/v1/txn", [_operation(release, *each) for each in wanted.items()])
        except (NoCluster, Declined) as error:
            raise CannotGoOn(f"{error}; then --resume") from None
        self.sleep(FOLLOW_SECONDS)


def _key(release: Release, name: str) -> str:
    return f"{PLACE}/{release.application}/{name}"


def _operation(release: Release, name: str, value: str | None) -> dict[str, Any]:
    said: dict[str, Any] = {"Verb": "delete", "Key": _key(release, name)}
    if value is not None:
        said |= {"Verb": "set", "Value": base64.b64encode(value.encode()).decode()}
    return {"KV": said}
