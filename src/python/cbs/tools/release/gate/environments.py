"""What is deployed is seen where it runs, and recorded; where the two disagree, both count."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cbs.bank import SERVICES
from cbs.platform.registry import FolderRegistry
from cbs.tools.cluster.api import Api, Declined, NoCluster
from cbs.tools.cluster.laptop import Laptop, NotUp
from cbs.tools.local import state
from cbs.tools.local.folder import Folder
from cbs.tools.local.plan import DIRTY
from cbs.tools.release.gate import signatures
from cbs.tools.release.gate.history import SHORT, GitHistory, NoSuchVersion
from cbs.tools.release.gate.policy import Policy, Signing, policy_of
from cbs.tools.release.gate.records import Deployment, PutAs, followed, in_time

# The bank of `cbs up`, and that of `cbs cluster dev`.
LAPTOP, CLUSTER = "laptop", "laptop-cluster"
# They come with the clone that the bank runs from.
WITH_THE_BANK = ("gateway", "cbs-cli")
APPLICATIONS = (*SERVICES, *WITH_THE_BANK, "partner")
# What the bank itself runs, and can be seen to.
OWN = (*SERVICES, "gateway")


@dataclass(frozen=True, slots=True)
class There:
    """One version of an application in an environment; of which bytes, where that is known."""

    application: str
    version: str
    pex_sha256: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"{self.application}@{self.version[:SHORT]}"


@dataclass(frozen=True, slots=True)
class Environment:
    """`findings` are what an operator should look at; `seen` is whether anything could be looked
    at in the environment itself; `unknown` is what is there in a version that is no commit.
    `promoted` is the commit that was put there last, of all that the bank itself runs; "" if none.
    `told` are those of whom it is known whether they are there.
    """

    name: str
    there: list[There]
    findings: list[str]
    seen: bool
    unknown: frozenset[str] = frozenset()
    promoted: str = ""
    told: frozenset[str] = frozenset()

    def versions(self, application: str) -> list[str]:
        return [each.version for each in self.there if each.application == application]


def environment(
    name: str,
    recorded: Sequence[Deployment],
    observed: list[There] | None,
    history: GitHistory,
    *,
    vouched: bool = False,
) -> Environment:
    """Both views of it put together. `vouched`: whoever keeps the records knows who may."""
    findings: list[str] = []
    unknown: set[str] = set()
    believed, promoted = _believed(name, recorded, history, findings, vouched=vouched)
    noted = list(
        dict.fromkeys(There(each.application, each.version, each.pex_sha256) for each in believed)
    )
    known = _versioned(observed or [], history, findings, unknown)
    if observed is not None:
        findings += _disagreements(name, known, noted)
        findings += _other_bytes(name, known, noted)
    put = _versioned(noted, history, findings, unknown)
    there = dict.fromkeys([*known, *put])
    ran = [each.version for each in known if each.application in OWN]
    told = {each.application for each in recorded} | {t.application for t in there} | unknown
    told |= {*OWN} if observed is not None else set()
    told |= {*APPLICATIONS} - {*OWN} if name in (LAPTOP, CLUSTER) else set()
    return Environment(
        name,
        list(there),
        findings,
        observed is not None,
        frozenset(unknown),
        promoted=promoted or (ran[-1] if ran else ""),
        told=frozenset(told),
    )


def _believed(
    name: str,
    recorded: Sequence[Deployment],
    history: GitHistory,
    findings: list[str],
    *,
    vouched: bool,
) -> tuple[list[Deployment], str]:
    """What is there by records of those who might sign them, and the commit that was promoted last.

    Who may is said by what had been promoted before: so nobody makes himself a signer with a
    record. What others say can bring a version more to be heeded, and takes none away.
    """
    there: list[Deployment] = []
    policy, promoted = Policy(), ""
    for each in in_time(recorded):
        worth = policy.signing(each.key, name)
        signed = not each.key or signatures.is_as_signed(each)
        if vouched or (signed and worth in (Signing.GOOD, Signing.RETIRED)):
            there = followed(there, each)
            is_own = each.application in OWN and each.way is not PutAs.UNDEPLOYED
            if is_own and (sha := _sha(history, each.version)):
                promoted, policy = sha, policy_of(history, sha)
            continue
        what = str(There(each.application, each.version)) if each.version else each.application
        how = worth if signed else "forged"
        if each.way is PutAs.UNDEPLOYED:
            findings.append(f"that {what} is gone from {name} nobody said who may ({how})")
        else:
            there.append(each)
            findings.append(f"{what} was recorded in {name} by nobody who may ({how})")
    return there, promoted


def _sha(history: GitHistory, version: str) -> str:
    try:
        return history.sha(version)
    except NoSuchVersion:
        return ""


def _disagreements(name: str, seen: list[There], noted: list[There]) -> list[str]:
    """Clients are not seen where services run: of them nothing is said."""
    applications = {each.application for each in seen}
    findings = [
        f"{each} is recorded in {name}, but"
        f" {'something else runs' if each.application in applications else 'does not run'} there"
        for each in noted
        if each.application in {*applications, *SERVICES} and each not in seen
    ]
    recorded = {each.application for each in noted}
    findings += [
        f"{each} runs in {name}, but is not what was recorded: ./cbs release record"
        f" {each.application} --version {each.version[:SHORT]} --to {name}"
        for each in seen
        if each.application in recorded and each not in noted
    ]
    return findings


def _other_bytes(name: str, seen: Sequence[There], noted: Sequence[There]) -> Iterator[str]:
    """A commit is one package: what else runs in its name is told."""
    digests = defaultdict[There, set[str]](set)
    for each in seen:
        digests[each] |= {each.pex_sha256} - {""}
    for each, found in digests.items():
        if len(found) > 1:
            yield f"{each} runs in {name} from {len(found)} packages: SHA-256 {', '.join(found)}"
    for each in noted:
        if each.pex_sha256 and (found := digests[each]) and each.pex_sha256 not in found:
            what = f"SHA-256 {', '.join(found)}, and what was released there is {each.pex_sha256}"
            yield f"{each} runs in {name} from {what}"


def _versioned(
    there: list[There], history: GitHistory, findings: list[str], unknown: set[str]
) -> list[There]:
    """With whole SHAs; what is no commit of this repository is a finding, and unknown."""
    known = []
    for each in there:
        version = each.version.removesuffix(DIRTY)
        if version != each.version:
            what = f"a changed work tree of {version[:SHORT]}"
            findings.append(f"{each.application} runs from {what}")
        try:
            known.append(There(each.application, history.sha(version), each.pex_sha256))
        except NoSuchVersion:
            what = f"version {version!r}" if version else "a version that nobody told"
            findings.append(f"{each.application} is there in {what}, which cannot be looked up")
            unknown.add(each.application)
    return known


def observed(
    name: str, folder: Folder, *, registry: Path | None, consul: Api | None
) -> list[There] | None:
    """What is seen to be there; None where nobody can look."""
    if registry is not None:
        return in_registry(FolderRegistry(registry))
    if name == LAPTOP:
        return laptop(folder)
    if name == CLUSTER:
        return cluster(folder)
    return None if consul is None else in_consul(consul)


def laptop(folder: Folder) -> list[There] | None:
    """The bank that is up in a folder; None if none is."""
    running = state.read(folder.state) if folder.is_bank else None
    if running is None:
        return None
    there = [There(application, running.sha) for application in WITH_THE_BANK]
    return there + in_registry(FolderRegistry(folder["registry"]))


def in_registry(registry: FolderRegistry) -> list[There]:
    """Every instance that is listed, once a version."""
    found = (
        There(instance.service, instance.sha)
        for service in SERVICES
        for instance in registry.instances(service)
    )
    return list(dict.fromkeys(found))


def cluster(folder: Folder) -> list[There] | None:
    """The `cbs cluster dev` that is up in a folder; None if none is."""
    running = state.read(folder.state) if folder.is_bank else None
    try:
        seen = in_consul(Laptop.of(folder).api("consul"))
    except NotUp:
        return None
    if seen is None or running is None:
        return None
    return [There("cbs-cli", running.sha), *seen]


def in_consul(consul: Api) -> list[There] | None:
    """Every instance that is registered, once a package; None if Consul does not say."""
    found: dict[tuple[str, str, str], There] = {}
    try:
        for application in (*SERVICES, "gateway"):
            for entry in consul.get(f"/v1/health/service/cbs-{application}"):
                meta = entry["Service"]["Meta"] or {}
                what = (application, meta.get("sha", ""), meta.get("pex_sha256", ""))
                found[what] = There(*what)
    except (NoCluster, Declined):
        return None
    return list(found.values())
