"""Verdicts go to the audit log of the bank that is up, or wait until there is one."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import closing

import msgspec

from cbs.tools.local.folder import Folder
from cbs.tools.local.public_api import NoAnswerFromBank, NoBank, PublicApi, RefusedByBank
from cbs.tools.release.gate.records import SHORT_KEY, Signed, Store, Verdict
from cbs.tools.release.gate.signatures import verified_verdict

USER = "operator"


def send(store: Store, folder: Folder, *, say: Callable[[str], None]) -> None:
    """Bring what was not brought yet; each once, whatever fails. Says what must wait."""
    # What was forged or damaged is not sent: `cbs release verdicts` names it.
    waiting = [s for s in store.verdicts() if not s.audited and verified_verdict(s) is not None]
    if not waiting:
        return
    try:
        asyncio.run(_send(store, folder, waiting, say))
    except NoBank:
        many = "1 verdict waits" if len(waiting) == 1 else f"{len(waiting)} verdicts wait"
        say(f"{many} for a bank whose audit log is up")
    except (NoAnswerFromBank, OSError) as error:
        say(f"the audit log did not take the verdicts, they wait: {error}")


async def _send(
    store: Store, folder: Folder, waiting: Sequence[Signed], say: Callable[[str], None]
) -> None:
    with closing(PublicApi.of(folder, USER)) as api:
        for signed in waiting:
            verdict = msgspec.json.decode(signed.verdict, type=Verdict)
            body = {
                "application": verdict.application,
                "version": verdict.version,
                "environment": verdict.environment,
                "answer": verdict.answer,
                "pex_sha256": verdict.pex_sha256,
                "verdict": bytes(signed.verdict).decode(),
                "key": signed.key,
                "signature": signed.signature,
            }
            key = f"verdict-{signed.signature[:SHORT_KEY]}"
            try:
                await api.post("/v1/audit/verdicts", body, msgspec.Raw, key=key)
            except RefusedByBank as refusal:
                # Those behind it must not wait for it.
                say(f"the audit log refused verdict {signed.id}, it waits: {refusal}")
                continue
            signed.audited = True
            store.keep_verdict(signed)
