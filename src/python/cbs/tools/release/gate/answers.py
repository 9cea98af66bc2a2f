"""A Pact Broker says much; this is what the gate reads of it, and must be there."""

from datetime import datetime
from typing import Any

import msgspec
from msgspec import field

from cbs.tools.release.gate.records import StoreUnreachable


class BrokerEnvironment(msgspec.Struct):
    uuid: str
    name: str


class Named(msgspec.Struct):
    name: str


class Numbered(msgspec.Struct):
    number: str


class BrokerVersion(msgspec.Struct):
    pacticipant: Named
    version: Numbered


class Put(msgspec.Struct):
    """A version that is deployed, or released and still supported."""

    uuid: str
    created: datetime = field(name="createdAt")
    there: BrokerVersion = field(name="_embedded")


class Pair(msgspec.Struct):
    consumer: Named
    provider: Named


class Lists(msgspec.Struct):
    environments: list[BrokerEnvironment] = []
    deployed: list[Put] = field(default=[], name="deployedVersions")
    released: list[Put] = field(default=[], name="releasedVersions")
    integrations: list[Pair] = []
    pacts: list["PactToVerify"] = []


class ListPage(msgspec.Struct):
    lists: Lists = field(name="_embedded")


class Properties(msgspec.Struct):
    pending: bool = False
    wip: bool = False


class PactToVerify(msgspec.Struct):
    links: dict[str, Any] = field(name="_links")
    properties: Properties = field(name="verificationProperties", default_factory=Properties)


class Link(msgspec.Struct):
    href: str


class ResultLinks(msgspec.Struct):
    links: dict[str, Link] = field(name="_links")


class Row(msgspec.Struct):
    verified: ResultLinks | None = field(name="verificationResult", default=None)


class MatrixRows(msgspec.Struct):
    matrix: list[Row]


class Linked(msgspec.Struct):
    links: dict[str, Any] = field(name="_links")

    def link(self, name: str) -> str:
        found = self.links.get(name)
        if not isinstance(found, dict) or not isinstance(found.get("href"), str):
            raise StoreUnreachable(f"the Pact Broker gives no link {name!r} where one belongs")
        return str(found["href"])


class Tested(msgspec.Struct):
    results: Any = field(name="testResults", default=None)


class DeployableSummary(msgspec.Struct):
    deployable: bool | None = None
    reason: str = ""


class Said(msgspec.Struct):
    summary: DeployableSummary
