"""What the gate asks of a Pact Broker (pact-foundation/pact_broker, 2.86 or later), as it is there.

A broker goes by versions: of a consumer, whose pact it has, and of a provider that was verified.
"""

import base64
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from cbs.tools.release.gate.answers import (
    BrokerEnvironment,
    Linked,
    ListPage,
    MatrixRows,
    Properties,
    Put,
    Row,
    Said,
    Tested,
)
from cbs.tools.release.gate.hal import BrokerRefused, Hal, path
from cbs.tools.release.gate.history import Pact
from cbs.tools.release.gate.records import Result, StoreUnreachable

MERGE_PATCH = "application/merge-patch+json"
# What is further back is not found again, and verified anew.
MATRIX_ROWS_MAX = 500
PRODUCTION = ("production", "prod")
MINE = "cbs"
PUBLISH, CONSUMER = "pb:publish-verification-results", "pb:consumer-version"


class Selected(msgspec.Struct, kw_only=True):
    """A pact that a provider is to be verified with; `wished`: it must not break the build."""

    consumer: str
    provider: str
    consumer_version: str
    content: bytes
    wished: bool

    @property
    def id(self) -> str:
        return Pact(self.consumer, self.provider, self.content).id


@dataclass(frozen=True, slots=True)
class PactBroker:
    """Raises StoreUnreachable."""

    hal: Hal

    # --- versions and pacts ----------------------------------------------------------------------

    def publish(
        self, application: str, version: str, *, branch: str | None, pacts: Sequence[Pact]
    ) -> None:
        """Record a version of an application, with what it asks of others as a consumer."""
        if pacts:
            body = {
                "pacticipantName": application,
                "pacticipantVersionNumber": version,
                "contracts": [_contract(pact) for pact in pacts],
            }
            if branch is not None:
                body["branch"] = branch
            self.hal.send("POST", "/contracts/publish", body, dict[str, Any])
        elif branch is not None:
            where = path("pacticipants", application, "branches", branch, "versions", version)
            self.hal.send("PUT", where, {}, dict[str, Any])
        else:
            self.ensure_version(application, version)

    def ensure_version(self, application: str, version: str) -> None:
        """Make a version known that was never published."""
        where = path("pacticipants", application, "versions", version)
        if self.hal.get(where, dict[str, Any]) is None:
            self.hal.send("PUT", where, {}, dict[str, Any])

    def pacts_to_verify(self, provider: str, branch: str) -> Iterator[Selected]:
        """What a build of the provider is to be verified with: the pacts of main branches, of the
        branch of the same name, and of all that is deployed or released."""
        body = {
            "consumerVersionSelectors": [
                {"mainBranch": True},
                {"matchingBranch": True},
                {"deployedOrReleased": True},
            ],
            "includePendingStatus": True,
            "providerVersionBranch": branch,
        }
        where = path("pacts", "provider", provider, "for-verification")
        try:
            found = self.hal.send("POST", where, body, ListPage).lists.pacts
        except BrokerRefused as error:
            if error.status == 404:
                return  # nobody has a pact with it
            raise
        for each in found:
            content = self.hal.get(Linked(each.links).link("self"), dict[str, Any])
            if content is None:
                raise StoreUnreachable(f"the Pact Broker lost a pact of {provider} that it listed")
            yield _selected(content, each.properties)

    # --- verifications ---------------------------------------------------------------------------

    def publish_result(self, result: Result) -> bool:
        """Publish a result of two versions; False if the broker has no pact of the consumer's. The
        whole of it goes along: who finds it there has it as we have."""
        where = _of_pact(result.consumer, result.consumer_version, result.provider)
        pact = self.hal.get(where, Linked)
        if pact is None:
            return False
        body = {
            "success": result.held,
            "providerApplicationVersion": result.provider_version,
            "testResults": {MINE: result},
            "verifiedBy": {"implementation": "cbs release"},
        }
        self.hal.send("POST", pact.link(PUBLISH), body, dict[str, Any])
        return True

    def has_result(self, result: Result) -> bool:
        """Whether these two versions have a result, whoever verified them."""
        versions = (result.consumer, result.consumer_version)
        others = (result.provider, result.provider_version)
        query = [
            pair
            for name, version in (versions, others)
            for pair in (("q[][pacticipant]", name), ("q[][version]", version))
        ]
        rows = self._rows([*query, ("latestby", "cvpv")])
        return any(row.verified is not None for row in rows)

    def pairs(self) -> list[tuple[str, str]]:
        """Every consumer with each of its providers."""
        listed = self.hal.get("/integrations", ListPage)
        found = listed.lists.integrations if listed else []
        return [(pair.consumer.name, pair.provider.name) for pair in found]

    def verifications(self, consumer: str, provider: str) -> list[str]:
        """Where the results of a pair are, each once, whichever versions share it."""
        query = [("q[][pacticipant]", consumer), ("q[][pacticipant]", provider)]
        rows = self._rows([*query, ("latestby", "cvpv"), ("limit", str(MATRIX_ROWS_MAX))])
        links = [row.verified.links["self"].href for row in rows if row.verified is not None]
        return list(dict.fromkeys(re.sub("/metadata/[^/]+", "", link) for link in links))

    def _rows(self, query: list[tuple[str, str]]) -> list[Row]:
        found = self.hal.ask("/matrix", MatrixRows, query)
        return found.matrix if found else []

    def result_at(self, place: str) -> Result | None:
        """None if somebody else published it, in other words."""
        found = self.hal.get(place, Tested)
        if found is None or not isinstance(found.results, dict) or MINE not in found.results:
            return None
        try:
            return msgspec.convert(found.results[MINE], Result)
        except msgspec.ValidationError as error:
            raise StoreUnreachable(f"the result at {place} is damaged ({error})") from None

    # --- environments ----------------------------------------------------------------------------

    def environments(self) -> dict[str, str]:
        """By name, the id that paths have."""
        listed = self.hal.get("/environments", ListPage)
        return {each.name: each.uuid for each in listed.lists.environments} if listed else {}

    def environment(self, name: str) -> str:
        """Its id; it is made if it is missing."""
        if (known := self.environments().get(name)) is not None:
            return known
        body = {"name": name, "displayName": name, "production": name in PRODUCTION}
        try:
            return self.hal.send("POST", "/environments", body, BrokerEnvironment).uuid
        except BrokerRefused:
            if (made := self.environments().get(name)) is not None:
                return made  # by somebody else, meanwhile
            raise

    def put(self, application: str, version: str, environment: str, *, released: bool) -> None:
        """Record a deployment, which takes the place of what was there, or a release."""
        self.ensure_version(application, version)
        kind = "released-versions" if released else "deployed-versions"
        place = ("versions", version, kind, "environment", self.environment(environment))
        self.hal.send("POST", path("pacticipants", application, *place), {}, dict[str, Any])

    def deployed(self, uuid: str) -> list[Put]:
        place = path("environments", uuid, "deployed-versions", "currently-deployed")
        listed = self.hal.get(place, ListPage)
        return listed.lists.deployed if listed else []

    def released(self, uuid: str) -> list[Put]:
        place = path("environments", uuid, "released-versions", "currently-supported")
        listed = self.hal.get(place, ListPage)
        return listed.lists.released if listed else []

    def take_away(self, there: Put, *, released: bool) -> None:
        what = "currentlySupported" if released else "currentlyDeployed"
        place = path("released-versions" if released else "deployed-versions", there.uuid)
        self.hal.send("PATCH", place, {what: False}, dict[str, Any], kind=MERGE_PATCH)

    def can_i_deploy(self, application: str, version: str, to: str) -> tuple[bool | None, str]:
        """What the broker thinks, and why; None if it does not know."""
        query = {"pacticipant": application, "version": version, "environment": to}
        try:
            said = self.hal.get("/can-i-deploy", Said, **query)
        except BrokerRefused as error:
            if error.status not in (400, 422):
                raise
            return None, error.said
        return (said.summary.deployable, said.summary.reason) if said else (None, "not found")


def _of_pact(consumer: str, version: str, provider: str) -> str:
    return path("pacts", "provider", provider, "consumer", consumer, "version", version)


def _contract(pact: Pact) -> dict[str, str]:
    return {
        "consumerName": pact.consumer,
        "providerName": pact.provider,
        "specification": "pact",
        "contentType": "application/json",
        "content": base64.b64encode(pact.body).decode(),
    }


def _selected(content: dict[str, Any], properties: Properties) -> Selected:
    links = content.pop("_links", {})
    content.pop("createdAt", None)
    versions = links.get(CONSUMER, {})
    return Selected(
        consumer=content["consumer"]["name"],
        provider=content["provider"]["name"],
        consumer_version=str(versions.get("name", "")),
        content=msgspec.json.encode(content),
        wished=properties.pending or properties.wip,
    )
