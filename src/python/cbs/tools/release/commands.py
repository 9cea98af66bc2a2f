"""`cbs release`: what is where, whether a version may follow, and who said so."""

import time
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from cbs.bank import SERVICES
from cbs.tools.local.command_line import (
    DONE,
    NO,
    AsJson,
    Data,
    print_json,
)
from cbs.tools.local.folder import Folder
from cbs.tools.release.desk import (
    EXIT,
    Application,
    Key,
    ReleaseDesk,
    Repository,
    Run,
    StorePlace,
    To,
    Version,
    cannot_say,
    check_application,
    check_environment,
    progress,
)
from cbs.tools.release.gate import audit, matrix, package, page, signatures
from cbs.tools.release.gate.environments import LAPTOP
from cbs.tools.release.gate.history import SHORT, GitHistory
from cbs.tools.release.gate.policy import Signing
from cbs.tools.release.gate.records import (
    Deployment,
    GateAnswer,
    PutAs,
    Signed,
    Verdict,
    now,
    operator,
    why_not_there,
)

app = typer.Typer(help="Contracts gate each release.", no_args_is_help=True)
RegistryPlace = Annotated[
    Path | None, typer.Option("--registry", help="A registry folder in which to look.")
]


@app.command("can-i-deploy")
def can_i_deploy(
    application: Application,
    to: To,
    version: Version = "HEAD",
    run: Run = True,
    pex: Annotated[
        Path | None, typer.Option(help="The PEX that is to go; dist/cbs/<service>.pex if there.")
    ] = None,
    key: Key = None,
    registry: RegistryPlace = None,
    repository: Repository = None,
    store: StorePlace = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Say whether a version may go to an environment, and why. Exit 0: yes. 1: no. 3: unknown."""
    check_application(application)
    check_environment(to)
    began = time.monotonic()
    with cannot_say():
        desk, folder = ReleaseDesk.at(repository, store), Folder.at(data)
        desk.check_known(to)
        sha = desk.history.sha(version)
        environment = desk.environment(to, registry, folder)
        verdict = desk.gate(run=run, key=key).can_i_deploy(
            application, sha, environment, pex_sha256=_digest(desk.history, application, sha, pex)
        )
        signed = desk.keep(verdict, desk.key(key))
        audit.send(desk.store, folder, say=progress)
    progress(f"it took {time.monotonic() - began:.1f} s")
    if as_json:
        print_json(_shown(verdict, signed))
    else:
        _show(verdict)
    raise typer.Exit(EXIT[verdict.answer])


def _digest(history: GitHistory, application: str, sha: str, pex: Path | None) -> str:
    """Of the very file that is to go; empty if there is none, as of a client. Raises NotOfCommit of
    one that is named and is another's; what lies in dist/ may be."""
    file = pex or history.root / "dist" / "cbs" / f"{application}.pex"
    if pex is None and not (application in (*SERVICES, "gateway") and file.exists()):
        return ""
    try:
        package.check(file, history, sha, application)
    except package.NotOfCommit as error:
        if pex is not None:
            raise
        progress(f"the verdict is on no package: {error}")
        return ""
    return package.sha256_of(file)


def _shown(verdict: Verdict, signed: Signed) -> dict[str, Any]:
    signature = {"key": signed.key, "signature": signed.signature}
    return {**msgspec.to_builtins(verdict), **signature}


def _show(verdict: Verdict) -> None:
    what = f"{verdict.application}@{verdict.version[:SHORT]} to {verdict.environment}"
    typer.echo(f"{verdict.answer.upper()}: {what}")
    order = (GateAnswer.NO, GateAnswer.UNKNOWN, GateAnswer.YES)
    for reason in sorted(verdict.reasons, key=lambda reason: order.index(reason.answer)):
        typer.echo(f"  {reason.answer:8} {reason.why}")
        if reason.todo:
            typer.echo(f"           -> {reason.todo}")
    for note in verdict.notes:
        typer.echo(f"  note     {note}")


@app.command()
def record(
    application: Application,
    to: To,
    version: Version = "HEAD",
    released: Annotated[
        bool, typer.Option("--released", help="One more, beside those that are there.")
    ] = False,
    undeployed: Annotated[bool, typer.Option("--undeployed", help="It is gone.")] = False,
    absent: Annotated[bool, typer.Option("--absent", help="It is there in no version.")] = False,
    key: Key = None,
    repository: Repository = None,
    store: StorePlace = None,
    as_json: AsJson = False,
) -> None:
    """Record what was put into an environment; it takes the place of what was there.

    Who reads a service and was never recorded keeps it from its yes: say that it is --absent.
    """
    check_application(application)
    check_environment(to)
    if released + undeployed + absent > 1:
        raise typer.BadParameter("--released, --undeployed and --absent exclude each other")
    with cannot_say():
        desk = ReleaseDesk.at(repository, store)
        gone = undeployed or absent
        way = PutAs.RELEASED if released else PutAs.UNDEPLOYED if gone else PutAs.DEPLOYED
        done = Deployment(
            application=application,
            version="" if absent else desk.history.sha(version),
            environment=to,
            way=way,
            at=now(),
            by=operator(),
        )
        if undeployed and (wrong := why_not_there(done, desk.store.deployments(to))):
            typer.echo(wrong, err=True)
            raise typer.Exit(NO)
        signatures.sign(done, desk.key(key))
        desk.store.record(done)
    if as_json:
        print_json(done)
    elif absent:
        typer.echo(f"{done.application} is not in {to}")
    else:
        typer.echo(f"{done.application}@{done.version[:SHORT]} is {way} in {to}")


@app.command("matrix")
def show_matrix(
    version: Version = "HEAD",
    consumer: Annotated[str, typer.Option(help="Only what this one reads.")] = "",
    provider: Annotated[str, typer.Option(help="Only what is read of this one.")] = "",
    to: Annotated[str, typer.Option("--to", help="Only pairs that are both there.")] = "",
    html: Annotated[
        Path | None, typer.Option("--page", help="Write it as a page to look at, too.")
    ] = None,
    repository: Repository = None,
    store: StorePlace = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Show who was verified with whom, in which versions, when and by whom, and what is deployed
    where; of each pair the newest versions first."""
    for each in filter(None, (consumer, provider)):
        check_application(each)
    with cannot_say():
        desk = ReleaseDesk.at(repository, store)
        names = dict.fromkeys([*desk.store.environments(), LAPTOP])
        there = [desk.environment(name, None, Folder.at(data)) for name in names]
        whole = matrix.matrix_of(desk.history, desk.store, desk.history.sha(version), there)
        found = matrix.only(whole, consumer=consumer, provider=provider, environment=to)
        if html is not None:
            html.write_text(page.html(found))
            progress(f"written: {html}")
    if as_json:
        print_json(found)
    else:
        matrix.show(found)


@app.command("key")
def make_key(
    file: Annotated[Path, typer.Argument(help="A file that is not there yet.")],
) -> None:
    """Make an operator's key to sign verdicts with; prints the public half."""
    if file.exists():
        raise typer.BadParameter(f"{file} is there already")
    with cannot_say():
        typer.echo(signatures.make_key(file))


@app.command()
def verdicts(
    repository: Repository = None, store: StorePlace = None, as_json: AsJson = False
) -> None:
    """Show what the gate said, oldest first; exit 1 if one is not as it was signed, or not by who
    may sign for its environment, now, or if one is missing."""
    with cannot_say():
        desk = ReleaseDesk.at(repository, store)
        read = [(each, signatures.verified_verdict(each)) for each in desk.store.verdicts()]
        ids = {"", *(each.id for each, _ in read)}
        missing = [verdict is not None and verdict.after not in ids for _, verdict in read]
        policies = {v.environment: desk.policy(v.environment) for _, v in read if v is not None}
        worth = [
            Signing.STRANGER
            if verdict is None
            else policies[verdict.environment].signing(signed.key, verdict.environment)
            for signed, verdict in read
        ]
    if as_json:
        print_json(
            [
                {
                    "valid": verdict is not None,
                    "signer": how if verdict else None,
                    "audited": signed.audited,
                    "missing_before": gone,
                    "signed": signed,
                }
                for (signed, verdict), how, gone in zip(read, worth, missing, strict=True)
            ]
        )
    else:
        for (signed, verdict), how, gone in zip(read, worth, missing, strict=True):
            if gone and verdict is not None:
                typer.echo(f"MISSING  {verdict.after}: it was kept before the next, and is gone")
            typer.echo(_line(signed, verdict, how))
    believed = all(how in (Signing.GOOD, Signing.RETIRED) for how in worth)
    raise typer.Exit(DONE if believed and not any(missing) else NO)


def _line(signed: Signed, verdict: Verdict | None, how: Signing) -> str:
    if verdict is None:
        return f"FORGED   {signed.id}: not what {signed.key[:SHORT]}… signed"
    if how in (Signing.REVOKED, Signing.STRANGER):
        return (
            f"{how.upper():8} {signed.id}: signed by {signed.key[:SHORT]}…, who may not sign for"
            f" {verdict.environment}"
        )
    what = f"{verdict.application}@{verdict.version[:SHORT]} to {verdict.environment}"
    what += f" ({verdict.step})" if verdict.step else ""
    told = "in the audit log" if signed.audited else "not yet audited"
    read = f", {verdict.log}" if verdict.log else ""
    return f"{verdict.answer:8} {what}, {verdict.at:%F %T}, by {verdict.by}, {told}{read}"
