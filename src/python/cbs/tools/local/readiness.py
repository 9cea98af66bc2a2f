"""Ready is what a caller gets at the public port; and what is written stays.

A bank whose disk is full still answers questions, and takes what finds room in blocks that it has.
So every database is asked to write to new ones, and to make a transaction durable.
"""

import asyncio
import os
import uuid
from collections.abc import Iterable, Iterator
from itertools import chain
from urllib.parse import urlsplit

import asyncpg
import msgspec

from cbs.bank import SERVICES
from cbs.tools.local import databases, health, secrets
from cbs.tools.local.folder import Folder
from cbs.tools.local.postgres import with_database
from cbs.tools.local.public_api import PublicApi, refusal_of
from cbs.tools.local.state import BankState, ProgramState

ASKED_SECONDS_MAX = 5.0
USER = "operator"
# What a caller is told who asks for a request that nobody made: the service has looked it up.
LOOKED_UP = "no-such-request"
# PostgreSQL stops where it finds no room for the next piece of its log.
ROOM_BYTES_MIN = 16 << 20
SERVERS = ("postgres", "nats")
# What a sort cannot keep in so little memory goes to new blocks of the disk that holds the data.
SPILL = (
    "SET LOCAL work_mem = '64kB'",
    "SELECT count(*) FROM (SELECT n FROM generate_series(1, 60000) n ORDER BY n DESC OFFSET 0) s",
)
COMMIT = "SELECT pg_logical_emit_message(true, 'cbs status', '')"


class NotReady(msgspec.Struct, frozen=True):
    """What is not as a caller needs it, and what to do next."""

    part: str
    why: str
    next_step: str


async def not_ready(folder: Folder, now: BankState) -> list[NotReady]:
    """Nothing where the bank is ready; all is asked at once, and nobody is waited for for long."""
    servers = [each for each in now.programs if each.name in SERVERS]
    found = await asyncio.gather(
        _answers(folder, now),
        *(_stands_still(folder, each) for each in servers),
        *(_writes(folder, now, service) for service in SERVICES),
    )
    return [*_full(folder), *chain.from_iterable(found)]


async def _answers(folder: Folder, now: BankState) -> list[NotReady]:
    """What a caller gets of each service; of an edge that answers nothing, only that."""
    try:
        token = folder.token(USER).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        return [NotReady("token", str(error), "./cbs down and ./cbs up make it anew")]
    api = PublicApi(now.edge_url, token)
    try:
        found = await asyncio.gather(*(_answer(api, service) for service in SERVICES))
    finally:
        api.close()
    port = urlsplit(now.edge_url).port or 0
    if all(found) and not await health.answers("edge", port, seconds=ASKED_SECONDS_MAX):
        why = f"nobody answers at {now.edge_url}: {found[0]}"
        return [NotReady("edge", why, _waiting_for("edge", folder))]
    return [
        NotReady(service, f"a caller gets {why}", _waiting_for(service, folder))
        for service, why in zip(SERVICES, found, strict=True)
        if why
    ]


def _waiting_for(part: str, folder: Folder) -> str:
    return (
        f"what hangs is replaced by itself in half a minute; else see ./cbs logs {part}"
        f"{folder.option}"
    )


async def _answer(api: PublicApi, service: str) -> str:
    """What a caller gets instead of an answer; nothing where there is one."""
    try:
        async with asyncio.timeout(ASKED_SECONDS_MAX):
            reply = await api.once("GET", f"/v1/{service}/requests/status-{uuid.uuid4()}")
    except TimeoutError:
        return f"no answer in {ASKED_SECONDS_MAX:g} s"
    except OSError as error:
        return str(error)
    refusal = refusal_of(reply)
    return "" if refusal.code == LOOKED_UP else f"{reply.status} {refusal}"


async def _stands_still(folder: Folder, server: ProgramState) -> list[NotReady]:
    if await health.answers(server.name, server.port, seconds=ASKED_SECONDS_MAX):
        return []
    why = f"it gives no answer in {ASKED_SECONDS_MAX:g} s"
    return [NotReady(server.name, why, f"see ./cbs logs {server.name}{folder.option}")]


async def _writes(folder: Folder, now: BankState, service: str) -> list[NotReady]:
    role = databases.runtime_of(service)
    url = with_database(now.postgres_url, role, role)
    try:
        async with (
            asyncio.timeout(ASKED_SECONDS_MAX),
            databases.connected(url, passfile=secrets.pgpass(folder, role)) as connection,
        ):
            if await connection.fetchval("SHOW transaction_read_only") == "on":
                why = "takes no writes: it is read-only"
                return [_unwritten(folder, service, why)]
            async with connection.transaction():
                for statement in (*SPILL, COMMIT):
                    await connection.execute(statement)
    except TimeoutError:
        return [_unwritten(folder, service, f"has written nothing in {ASKED_SECONDS_MAX:g} s")]
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        return [_unwritten(folder, service, f"cannot be written: {error}")]
    return []


def _unwritten(folder: Folder, service: str, why: str) -> NotReady:
    step = f"see ./cbs logs postgres{folder.option}, and the room on its disk"
    return NotReady(service, f"its database {why}", step)


def _full(folder: Folder) -> Iterator[NotReady]:
    places = (folder.root / name for name in ("", *SERVERS))
    for room, place in _rooms(place for place in places if place.exists()):
        if room < ROOM_BYTES_MIN:
            yield NotReady(
                "disk",
                f"the disk of {place} is full: {room >> 10} KiB are left",
                "make room there: the bank then goes on by itself",
            )


def _rooms(places: Iterable[os.PathLike[str]]) -> Iterator[tuple[int, os.PathLike[str]]]:
    """The bytes left on each disk, and the first of the places on it."""
    seen: set[int] = set()
    for place in places:
        if (disk := os.stat(place).st_dev) not in seen:
            seen.add(disk)
            there = os.statvfs(place)
            yield there.f_bavail * there.f_frsize, place
