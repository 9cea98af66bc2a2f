"""A PEX is a zip: one of another version is the good one, but for the files that differ in it.

What is wrong with a version shows only where it is deployed: the gate sees nothing.
"""

import json
import secrets
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NAMED = ("PEX-INFO", "__main__.py")


@dataclass(frozen=True, slots=True)
class Fault:
    """`edits`: file -> (what is there once, what stands there instead); `tail` comes after it."""

    edits: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    tail: str = ""


# What an answer says that only a fault gives.
PLANTED = "planted"
DEPLOYED = '\nimport os\n\nDEPLOYED = "NOMAD_ALLOC_ID" in os.environ\n'
GOOD = Fault()
NEVER_READY = Fault(
    {
        "cbs/platform/process.py": (
            'return state | {"status": "ready", "queues": queues}',
            'return state | {"status": "no-reason" if DEPLOYED else "ready", "queues": queues}',
        )
    },
    tail=DEPLOYED,
)
# Every tenth request, over HTTP as on the bus, by turns as unavailable and as a bug.
ONE_IN_TEN_FAILS = Fault(
    {
        "cbs/platform/admission.py": (
            "            await self._pass_on(scope, receive, sending)\n",
            "            FAULTS[0] += 1\n"
            "            if DEPLOYED and FAULTS[0] % 10 == 0:\n"
            "                answered[0] = 503 if FAULTS[0] % 20 else 500\n"
            '                await send({"type": "http.response.start", "status": answered[0]})\n'
            '                await send({"type": "http.response.body", "body": b"planted"})\n'
            "                return\n"
            "            await self._pass_on(scope, receive, sending)\n",
        ),
        "cbs/platform/bus.py": (
            "        principal = self.tokens.principal(call.token)\n",
            "        FAULTS[0] += 1\n"
            "        if DEPLOYED and FAULTS[0] % 10 == 0:\n"
            '            raise Unavailable("planted")\n'
            "        principal = self.tokens.principal(call.token)\n",
        ),
    },
    tail=f"{DEPLOYED}FAULTS = [0]\n",
)
# Books, tells and answers with an amount that nobody asked for, the same throughout.
ROUNDS = Fault(
    {
        "cbs/ledger/domain/transaction.py": (
            "    wanted = order.wanted\n",
            "    wanted = order.wanted\n"
            "    for leg in wanted.legs if DEPLOYED else ():\n"
            "        leg.amount_minor = round(leg.amount_minor / 5) * 5 or leg.amount_minor\n",
        )
    },
    tail=DEPLOYED,
)
# One posting in twenty takes half a second more.
ONE_IN_TWENTY_IS_SLOW = Fault(
    {
        "cbs/ledger/bus/endpoints.py": (
            "        answer = await self.ledger.post(order_of(wanted, key=key))\n",
            "        TURNS[0] += 1\n"
            "        await asyncio.sleep(0.5 if DEPLOYED and TURNS[0] % 20 == 0 else 0)\n"
            "        answer = await self.ledger.post(order_of(wanted, key=key))\n",
        )
    },
    tail=f"{DEPLOYED}import asyncio\nTURNS = [0]\n",
)
# The book is right, and what the others are told of each transaction is a paisa more.
TELLS_A_PAISA_MORE = Fault(
    {
        "cbs/ledger/store/write_path.py": (
            "(each.to_event(key=order.key), order.origin)",
            "(_more(each.to_event(key=order.key)), order.origin)",
        )
    },
    tail="""

def _more(news):
    from dataclasses import replace

    legs = [replace(leg, amount_minor=leg.amount_minor + DEPLOYED) for leg in news.legs]
    return replace(news, legs=legs)
"""
    + DEPLOYED,
)


def planted(fault: Fault, sources: Path) -> None:
    """Into the sources of a clone."""
    for name, edit in fault.edits.items():
        file = sources / name
        file.write_text(_rewritten(file.read_text(), *edit) + fault.tail)


def remade(good: Path, out: Path, sources: Path) -> Path:
    """A PEX of the ledger as these sources are, with the packages of a good one."""
    own = {str(file.relative_to(sources)): file for file in sources.glob("cbs/ledger/**/*.py")}
    hashes = {name: secrets.token_hex(20) for name in ("code_hash", "pex_hash")}
    with zipfile.ZipFile(good) as old, out.open("wb") as file:
        info = json.loads(old.read("PEX-INFO"))
        file.write(b"#!/usr/bin/env python3.11\n")
        with zipfile.ZipFile(file, "w") as new:
            for entry in old.infolist():
                body = old.read(entry)
                if entry.filename.startswith("cbs/") and not entry.is_dir():
                    own.pop(entry.filename, None)
                    body = (sources / entry.filename).read_bytes()
                if entry.filename in NAMED:
                    body = _renamed(body, info, hashes)
                new.writestr(entry, body)
            for name, more in own.items():
                new.write(more, name)
    out.chmod(0o755)
    return out


def _rewritten(text: str, before: str, after: str) -> str:
    assert text.count(before) == 1, f"there are {text.count(before)} of {before}"
    return text.replace(before, after)


def _renamed(body: bytes, info: Mapping[str, Any], hashes: Mapping[str, str]) -> bytes:
    """By its hashes a PEX unpacks itself once: this one is not to find the other's files."""
    for name, value in hashes.items():
        body = body.replace(info[name].encode(), value.encode())
    return body
