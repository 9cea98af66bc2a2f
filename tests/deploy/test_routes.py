"""A canary's share is all there or not there at all, and nothing of it stays, whoever is killed."""

import base64
import json
from dataclasses import dataclass, field

import httpx
import pytest

from cbs.tools.cluster.api import Api
from cbs.tools.release.deploy.releases import Done, JournalEntry, Release, ReleaseStep
from cbs.tools.release.deploy.routes import UNWEIGHTED, Routes
from cbs.tools.release.deploy.steps import CannotGoOn
from cbs.tools.release.gate.records import GateAnswer
from tests.deploy.world import BEGAN, NEW, OLD, Hand, Killed

PLACE = "cbs/routes/ledger/"


@dataclass
class Consul:
    """Its key/value store and its transactions, as they answer over HTTP."""

    hand: Hand = field(default_factory=Hand)
    keys: dict[str, str] = field(default_factory=lambda: {f"{PLACE}canary-percent": "7"})
    seen: list[dict[str, str]] = field(default_factory=list)
    away: bool = False

    def api(self) -> Api:
        transport = httpx.MockTransport(self._answer)
        return Api("consul", httpx.Client(transport=transport, base_url="http://consul.example"))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.hand()
        if self.away:
            return httpx.Response(500, text="No cluster leader")
        if request.url.path == "/v1/txn":
            for each in json.loads(request.content):
                self._do(each["KV"])
            self.seen.append(self.routes)
            self.hand()
            return httpx.Response(200, json={"Results": []})
        value = self.keys.get(request.url.path.removeprefix("/v1/kv/"))
        if value is None:
            return httpx.Response(404)
        return httpx.Response(200, json=[{"Value": base64.b64encode(value.encode()).decode()}])

    def _do(self, operation: dict[str, str]) -> None:
        if operation["Verb"] == "delete":
            self.keys.pop(operation["Key"], None)
        else:
            self.keys[operation["Key"]] = base64.b64decode(operation["Value"]).decode()

    @property
    def routes(self) -> dict[str, str]:
        return {name.removeprefix(PLACE): value for name, value in self.keys.items()}


def release(routes: Routes, *, before: str = OLD) -> Release:
    """One whose baseline is known."""
    made = Release(
        id="1",
        application="ledger",
        version=NEW,
        environment="prod",
        before=before,
        committed=BEGAN,
        at=BEGAN,
        by="asha",
    )
    facts = routes.before(made)
    done = Done(answer=GateAnswer.YES, reasons=[], facts=facts)
    made.steps.append(JournalEntry(step=ReleaseStep.BASELINE, began=BEGAN, ended=BEGAN, done=done))
    return made


def of(consul: Consul, percent: int = 25) -> Routes:
    return Routes(consul=consul.api(), percent=percent, sleep=lambda _: None)


OPEN = {"stable": OLD, "canary": NEW, "canary-percent": "25"}
STARVED, CLOSED = OPEN | {"canary-percent": "0"}, {"canary-percent": "7"}


def test_a_canary_is_weighed_and_what_was_there_is_there_again():
    consul = Consul()
    routes = of(consul)
    made = release(routes)

    said = routes.open(made)
    routes.starve(made)
    routes.close(made)

    assert said == f"25 % of the calls go to the canary, the rest to {OLD[:10]}"
    assert consul.seen == [OPEN, STARVED, CLOSED]


@pytest.mark.parametrize("ends", ["promoted", "reverted"])
@pytest.mark.parametrize("moment", range(1, 16))
def test_killed_anywhere_and_done_again_nothing_stays(ends, moment):
    hand = Hand()
    consul = Consul(hand)
    routes = of(consul)
    made = release(routes)
    hand.at = frozenset({hand.moment + moment})
    acts = [routes.open, *([routes.starve] if ends == "reverted" else []), routes.close]

    for act in acts:
        try:
            act(made)
        except Killed:
            act(made)

    assert consul.routes == CLOSED
    # Each was seen whole, and in this order; what is done twice is seen twice.
    ways = [OPEN, STARVED, CLOSED] if ends == "reverted" else [OPEN, CLOSED]
    assert list({json.dumps(each): each for each in consul.seen}.values()) == ways


def test_a_percentage_that_nobody_had_set_is_taken_away():
    consul = Consul(keys={})
    routes = of(consul)
    made = release(routes)
    routes.open(made)
    routes.close(made)

    assert consul.routes == {}


def test_what_is_promoted_is_not_starved():
    consul = Consul()
    routes = of(consul)
    made = release(routes)
    routes.open(made)
    routes.close(made)
    routes.starve(made)

    assert consul.routes == CLOSED


def test_the_same_version_again_has_a_share_at_the_gateway_alone():
    consul = Consul()
    routes = of(consul)
    made = release(routes, before=NEW)

    assert "at the gateway" in routes.open(made)
    assert consul.routes == {"canary-percent": "25"}
    routes.close(made)
    assert consul.routes == CLOSED


def test_where_nothing_is_there_nothing_is_shared():
    consul = Consul()
    routes = of(consul)
    made = release(routes, before="")

    assert "nothing is there" in routes.open(made)
    assert consul.seen == []


def test_without_a_consul_it_is_said_plainly():
    routes = Routes()
    made = release(routes)

    assert routes.open(made) == UNWEIGHTED
    routes.starve(made)
    routes.close(made)


def test_a_consul_that_does_not_answer_stops_it_there():
    consul = Consul()
    routes = of(consul)
    made = release(routes)
    consul.away = True

    for act in (routes.open, routes.starve, routes.close):
        with pytest.raises(CannotGoOn, match="--resume"):
            act(made)
