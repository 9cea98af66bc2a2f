"""A Pact Broker cannot hold a result by content, so the gate tells it of versions, and keeps its
own account in a folder beside, into which it brings what others told the broker.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from hashlib import sha256

import msgspec

from cbs.tools.release.gate.blobs import Blobs, BlobStore
from cbs.tools.release.gate.history import Pact
from cbs.tools.release.gate.pact_broker import PactBroker
from cbs.tools.release.gate.records import (
    Build,
    Deployment,
    GateAnswer,
    Opinion,
    PutAs,
    Result,
    Signed,
    StoreUnreachable,
    now,
)

SEEN = "broker/seen.json"
RECORDED_BY = "the Pact Broker"
OPINIONS = {True: GateAnswer.YES, False: GateAnswer.NO, None: GateAnswer.UNKNOWN}


@dataclass(slots=True, kw_only=True)
class BrokerStore:
    """`pacts` gives those of a commit: what the broker misses of a version is published then.

    Verdicts are beside, only: the broker has no place for them. Applications of others, with whom
    a broker may be shared, are none of ours.
    """

    broker: PactBroker
    beside: Blobs
    applications: Collection[str]
    pacts: Callable[[str], Sequence[Pact]]
    _imported: bool = False

    @property
    def own(self) -> BlobStore:
        return BlobStore(self.beside)

    # --- results ---------------------------------------------------------------------------------

    def result(self, pact: str, provider_content: str) -> Result | None:
        known = self.own.result(pact, provider_content)
        if known is not None and not known.is_stale(now()):
            return known
        self._import_results()
        return self.own.result(pact, provider_content)

    def keep(self, result: Result) -> None:
        # A broker knows two versions and no third one's schema.
        if not result.over:
            self._publish(result)
        self.own.keep(result)

    def results(self) -> list[Result]:
        self._import_results()
        return self.own.results()

    def stands_for(self, result: Result, *, consumer_version: str, provider_version: str) -> None:
        other = msgspec.structs.replace(
            result, consumer_version=consumer_version, provider_version=provider_version
        )
        if other != result and not self.broker.has_result(other):
            self._publish(other)

    def _publish(self, result: Result) -> None:
        if self.broker.publish_result(result):
            return
        consumer, version, provider = result.consumer, result.consumer_version, result.provider
        own = [pact for pact in self.pacts(version) if pact.consumer == consumer]
        if result.pact not in {pact.id for pact in own if pact.provider == provider}:
            raise StoreUnreachable(
                f"{consumer}@{version} has no such pact with {provider} as was verified, so the"
                " broker cannot be told of it: verify the version itself"
            )
        self.broker.publish(consumer, version, branch=None, pacts=own)
        if not self.broker.publish_result(result):
            raise StoreUnreachable(f"{RECORDED_BY} lost a pact of {consumer} that it was given")

    def _import_results(self) -> None:
        """Bring here what was told to the broker since, once a process."""
        if self._imported:
            return
        seen = self._seen()
        for pair in self.broker.pairs():
            if not set(pair) <= set(self.applications):
                continue
            for place in self.broker.verifications(*pair):
                mark = sha256(place.encode()).hexdigest()[:32]
                if mark not in seen:
                    self._import(self.broker.result_at(place))
                    seen.add(mark)
        self.beside.put(SEEN, msgspec.json.encode(sorted(seen)))
        self._imported = True

    def _seen(self) -> set[str]:
        try:
            return set(msgspec.json.decode(self.beside.get(SEEN) or b"[]", type=list[str]))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise StoreUnreachable(f"{SEEN} is damaged ({error}): remove it") from None

    def _import(self, found: Result | None) -> None:
        if found is None:
            return
        known = self.own.result(found.pact, found.provider_content)
        if known is None or known.at < found.at:
            self.own.keep(found)

    # --- deployments -----------------------------------------------------------------------------

    @property
    def vouches(self) -> bool:
        return True

    def recorded(self, environment: str) -> list[Deployment]:
        """What is there; and of what nobody has put there, that this was said."""
        said = (each for each in self.own.recorded(environment) if not each.version)
        return [*said, *self.deployments(environment)]

    def record(self, deployment: Deployment) -> None:
        name, version = deployment.application, deployment.version
        if not version:
            self.own.record(deployment)
        if deployment.way is not PutAs.UNDEPLOYED:
            is_release = deployment.way is PutAs.RELEASED
            self.broker.put(name, version, deployment.environment, released=is_release)
        elif uuid := self.broker.environments().get(deployment.environment):
            for released in (False, True):
                listed = self.broker.released(uuid) if released else self.broker.deployed(uuid)
                for put in listed:
                    is_it = put.there.pacticipant.name == name
                    if is_it and version in (put.there.version.number, ""):
                        self.broker.take_away(put, released=released)

    def deployments(self, environment: str) -> list[Deployment]:
        uuid = self.broker.environments().get(environment)
        if uuid is None:
            return []
        listed = [(put, PutAs.DEPLOYED) for put in self.broker.deployed(uuid)]
        listed += [(put, PutAs.RELEASED) for put in self.broker.released(uuid)]
        found = [
            Deployment(
                application=put.there.pacticipant.name,
                version=put.there.version.number,
                environment=environment,
                way=way,
                at=put.created,
                by=RECORDED_BY,
            )
            for put, way in listed
            if put.there.pacticipant.name in self.applications
        ]
        return sorted(found, key=lambda each: each.at)

    def environments(self) -> list[str]:
        return sorted(self.broker.environments())

    # --- builds ----------------------------------------------------------------------------------

    def note(self, build: Build) -> None:
        """The broker hears of every application: a version that it does not know makes its every
        answer about it unknown."""
        pacts = self.pacts(build.version)
        for application in self.applications:
            own = [pact for pact in pacts if pact.consumer == application]
            branch = build.branch or None
            self.broker.publish(application, build.version, branch=branch, pacts=own)
        self.own.note(build)

    def builds(self) -> list[Build]:
        return self.own.builds()

    # --- verdicts --------------------------------------------------------------------------------

    def keep_verdict(self, signed: Signed) -> None:
        self.own.keep_verdict(signed)

    def verdicts(self) -> list[Signed]:
        return self.own.verdicts()

    def opinion(self, application: str, version: str, environment: str) -> Opinion:
        deployable, why = self.broker.can_i_deploy(application, version, environment)
        return Opinion(whose=RECORDED_BY, answer=OPINIONS[deployable], why=why)
