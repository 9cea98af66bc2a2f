"""Verdicts go to the audit log of the bank that is up, or wait until there is one."""

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from cbs.dev.folder import Folder
from cbs.dev.public_api import NoAnswer, NoBank, PublicApi, Refused
from cbs.release.gate.records import SHORT_KEY, Signed, Store
from cbs.release.gate.signing import checked

USER = "operator"


def send(store: Store, folder: Folder, *, say: Callable[[str], None]) -> None:
    """Bring what was not brought yet; each once, whatever fails. Says what must wait."""
    waiting = [signed for signed in store.verdicts() if not signed.audited]
    if not waiting:
        return
    try:
        asyncio.run(_send(store, folder, waiting))
    except NoBank:
        say(f"{len(waiting)} verdicts wait for a bank whose audit log is up")
    except (NoAnswer, Refused, OSError) as error:
        say(f"the audit log did not take the verdicts, they wait: {error}")


async def _send(store: Store, folder: Folder, waiting: Sequence[Signed]) -> None:
    api = PublicApi.of(folder, USER)
    try:
        for signed in waiting:
            verdict = checked(signed)
            if verdict is None:
                continue  # forged or damaged: `cbs release verdicts` names it
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
            await api.post("/v1/audit/verdicts", body, msgspec.Raw, key=key)
            signed.audited = True
            store.keep_verdict(signed)
    finally:
        api.close()
