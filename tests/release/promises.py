"""What is kept in tests of the gate's memory."""

import json
from datetime import UTC, datetime, timedelta

import msgspec

from cbs.tools.release.gate.blobs import FolderBlobs
from cbs.tools.release.gate.broker import BrokerStore
from cbs.tools.release.gate.hal import BASE_URL, Hal
from cbs.tools.release.gate.history import Pact
from cbs.tools.release.gate.pact_broker import PactBroker
from cbs.tools.release.gate.records import Deployment, PutAs, Result, Signed
from cbs.tools.release.provider_verification.report import InteractionOutcome

AT = datetime.now(UTC).replace(microsecond=0)
SECONDS_MAX = 1.0
PACT = Pact(
    "accounts",
    "ledger",
    json.dumps(
        {
            "consumer": {"name": "accounts"},
            "provider": {"name": "ledger"},
            "interactions": [{"description": "opens a book"}],
        }
    ).encode(),
)
APPLICATIONS = ("accounts", "ledger", "payments")


def result(**changed) -> Result:
    made = Result(
        pact=PACT.id,
        provider_content="c1",
        consumer="accounts",
        provider="ledger",
        consumer_version="a1",
        provider_version="l1",
        outcomes=[InteractionOutcome(description="opens a book", held=True)],
        at=AT,
        by="asha",
    )
    return msgspec.structs.replace(made, **changed)


def deployment(version, way=PutAs.DEPLOYED, *, application="ledger", to="test", minutes=0):
    at = AT + timedelta(minutes=minutes)
    return Deployment(
        application=application, version=version, environment=to, way=way, at=at, by="asha"
    )


def signed(at, name="s") -> Signed:
    return Signed(verdict=msgspec.Raw(json.dumps({"at": at}).encode()), key="k", signature=name)


def broker_store(url, beside, *, seconds_max=SECONDS_MAX, token="", pacts=(PACT,)) -> BrokerStore:
    environ = {BASE_URL: url, "PACT_BROKER_TOKEN": token}
    return BrokerStore(
        broker=PactBroker(Hal.of(environ, seconds_max=seconds_max)),
        beside=FolderBlobs(beside),
        applications=APPLICATIONS,
        pacts=lambda version: pacts,
    )
