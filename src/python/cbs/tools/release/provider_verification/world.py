"""A whole bank of the tree in hand, brought up for a verification, and asked as its users ask."""

import asyncio
import itertools
import secrets as secrets_of_chance
import sys
import threading
import time
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import msgspec
import nats
from nats.aio.client import Client
from nats.errors import Error as NatsError

from cbs.platform.nats_connect import servers
from cbs.tools.lab.demo.people import Somebody, people
from cbs.tools.local import databases, nats_server, postgres, secrets, state
from cbs.tools.local.bank import clear_up
from cbs.tools.local.databases import connected
from cbs.tools.local.folder import Folder
from cbs.tools.local.plan import SOURCE
from cbs.tools.local.process import CannotStart, output_of
from cbs.tools.local.public_api import ApiReply, PublicApi
from cbs.tools.local.scratch_bank import bank_up, erase, scratch_folder
from cbs.tools.local.tokens import SERVICE, SigningKey
from cbs.tools.local.waiting import until
from cbs.tools.release.layout import LOCK, NOW, layout_of

T = TypeVar("T")
ANSWER_SECONDS_MAX, FACT_SECONDS_MAX = 8.0, 8.0
POLL_SECONDS, MIGRATE_SECONDS_MAX = 0.02, 120
EDGE = "gateway"
# Who may do all that a user of the bank may.
USER, WITHOUT = "importer", "teller"
LOG_LINES_SHOWN = 15
# Serial numbers from here on are of who joined: those of the first begin at one.
JOINED_SERIALS = 400_000


class NotAsAsked(AssertionError):
    """The provider could not be brought into a state: what it answered instead."""


@dataclass(slots=True)
class BankUnderTest:
    """`candidate` has the sources of whoever brings states that this verifier does not know."""

    folder: Folder
    state: state.BankState
    loop: asyncio.AbstractEventLoop
    people: Iterator[Somebody]
    candidate: Path | None = None
    _buses: dict[str, Client] = field(default_factory=dict)
    _serial: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def port_of(self, service: str) -> int:
        return next(each.port for each in self.state.programs if each.name == service)

    def url_for(self, consumer: str, provider: str) -> str:
        """Where a consumer asks over HTTP: at the edge, but for the edge itself."""
        inside = f"http://127.0.0.1:{self.port_of(provider)}"
        return inside if consumer == EDGE else self.state.edge_url or inside

    # --- HTTP ------------------------------------------------------------------------------------

    def token(self, user: str = USER) -> str:
        return self.folder.token(user).read_text().strip()

    def ask(
        self, method: str, path: str, body: object = None, *, key: str = "", user: str = USER
    ) -> ApiReply:
        """One request to the service that the path names, past the edge."""
        api = PublicApi(f"http://127.0.0.1:{self.port_of(path.split('/')[2])}", self.token(user))

        async def once() -> ApiReply:
            with closing(api):
                return await api.once(method, path, body, key=key or uuid4().hex)

        return self.within(once())

    def change(self, path: str, body: object = None, *, method: str = "POST", key: str = "") -> Any:
        """What a change answered; raises NotAsAsked unless it was made."""
        answer = self.ask(method, path, body, key=key)
        if not answer.is_success:
            raise NotAsAsked(f"{method} {path}: {answer.said}")
        return msgspec.json.decode(answer.body)

    # --- the bus ---------------------------------------------------------------------------------

    def service_token(self, service: str) -> str:
        """A consumer that this version does not know yet has a token, too: the bank signs one."""
        file = secrets.service_token(self.folder, service)
        if file.exists():
            return file.read_text().strip()
        key = SigningKey.of_text(self.folder.secret("signing.key").read_text())
        now = int(time.time())
        return key.token(name=service, kind="service", permissions=SERVICE, at=now)

    def request(self, user: str, subject: str, payload: bytes) -> bytes:
        """Ask on the bus with `user`'s own key and permissions; raises NotAsAsked."""

        async def ask() -> bytes:
            client = await self._bus(user)
            return (await client.request(subject, payload, timeout=ANSWER_SECONDS_MAX)).data

        try:
            return self.within(ask())
        except (NatsError, TimeoutError):
            why = f"nobody answers {subject}, or {user} may not ask it"
            raise NotAsAsked(why) from None

    def tell(self, user: str, subject: str, data: object, *, key: str = "") -> Any:
        """A change over the bus, as the service `user`; raises NotAsAsked."""
        call = {
            "token": self.service_token(user),
            "milliseconds_left": 5000,
            "data": data,
            "key": key or uuid4().hex,
        }
        reply = msgspec.json.decode(self.request(user, subject, msgspec.json.encode(call)))
        if "data" not in reply:
            raise NotAsAsked(f"{subject}: {reply}")
        return reply["data"]

    def sequence(self, service: str) -> int:
        """The last place in the stream of a service's facts; 0 while it has none."""

        async def last() -> int:
            jetstream = (await self._bus(nats_server.ADMIN)).jetstream()
            try:
                return (await jetstream.stream_info(f"CBS_{service.upper()}")).state.last_seq
            except nats.js.errors.NotFoundError:
                return 0

        return self.within(last())

    def fact(self, subject: str, *, after: int, about: Sequence[str] = ()) -> bytes:
        """The last fact on this subject behind that place, as soon as it is published and, where
        anything is named, is `about` it."""
        stream = f"CBS_{subject.split('.')[1].upper()}"

        async def newest() -> bytes:
            jetstream = (await self._bus(nats_server.ADMIN)).jetstream()
            try:
                found = await jetstream.get_last_msg(stream, subject)
            except nats.js.errors.NotFoundError:
                return b""
            body = found.data or b""
            told = not about or any(each.encode() in body for each in about)
            return body if told and (found.seq or 0) > after else b""

        if fact := self.within(until(newest, seconds=FACT_SECONDS_MAX, every=POLL_SECONDS)):
            return fact
        raise NotAsAsked(f"nothing was published on {subject}")

    async def _bus(self, user: str) -> Client:
        if user not in self._buses:
            seed = secrets.nkey_seed(self.folder, user)
            # What one may ask that this version does not know yet, its own version declares.
            admin = secrets.nkey_seed(self.folder, nats_server.ADMIN)
            self._buses[user] = await nats.connect(
                servers(self.state.nats_url),
                nkeys_seed=str(seed if seed.exists() else admin),
                inbox_prefix=f"_INBOX_{user}".encode(),
            )
        return self._buses[user]

    # --- the rest --------------------------------------------------------------------------------

    def execute(self, service: str, statement: str, *values: object) -> None:
        """What no caller can bring about (a fact set aside), straight into a service's database."""

        async def run() -> None:
            password = secrets.password(self.folder, postgres.ADMIN)
            place = postgres.with_database(self.state.postgres_url, databases.runtime_of(service))
            async with connected(place, user=postgres.ADMIN, password=password) as connection:
                await connection.execute(statement, *values)

        self.within(run())

    def migrate(self, service: str, tree: Path) -> None:
        """As another commit has it, while this one's services run; raises CannotStart."""
        role = databases.owner_of(service)
        place = postgres.with_database(self.state.postgres_url, databases.runtime_of(service), role)
        environment = {
            "PYTHONPATH": str(tree / "src" / "python"),
            "CBS_POSTGRES_URL": place,
            "CBS_NATS_URL": self.state.nats_url,
            "PGPASSFILE": str(secrets.pgpass(self.folder, role)),
            **secrets.files_of(self.folder, service, nkey=True),
        }
        argv = [sys.executable, "-P", "-m", f"cbs.{service}.main", "migrate"]
        try:
            output_of(argv, env=environment, seconds_max=MIGRATE_SECONDS_MAX)
        except OSError as error:
            raise CannotStart(f"{service} is not migrated beside what runs: {error}") from None

    def serial(self) -> int:
        return next(self._serial)

    def within(self, work: Coroutine[Any, Any, T]) -> T:
        """Run on the world's own event loop, from whichever thread."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()

    def close(self) -> None:
        for client in self._buses.values():
            self.within(client.close())


@contextmanager
def world(
    from_pex: Path | None = None, tree: Path | None = None, candidate: Path | None = None
) -> Iterator[BankUnderTest]:
    """A bank in a folder of its own, erased at the end: of this tree, or of another commit's, which
    does not verify itself. Raises CannotStart, with the log's end."""
    place = scratch_folder("verify")
    folder = Folder.at(place / "bank")
    layout = NOW if tree is None else layout_of(lambda path: (tree / path).exists())
    up = [sys.executable, "-P", "-m", layout.bank, "up", "--data", str(folder.root)]
    argv = up
    if tree is not None:
        argv = ["env", f"PYTHONPATH={tree / 'src' / 'python'}", *up]
        if (tree / LOCK).read_bytes() != _own_lock(tree):
            argv = [str(tree / "cbs"), "up", "--data", str(folder.root)]
    if from_pex is not None:
        argv += ["--from-pex", str(from_pex.resolve())]
    try:
        with bank_up(folder, argv) as now, _loop() as loop:
            made = BankUnderTest(folder, now, loop, people("verify"), candidate)
            try:
                yield made
            finally:
                made.close()
    except CannotStart as error:
        raise CannotStart(f"{error}\n{_last_lines(folder)}") from None
    finally:
        clear_up(folder)
        erase(place)


def _own_lock(otherwise: Path) -> bytes:
    """Of the tree that this runs from; a PEX has none, and the packages that it has are its own."""
    own = SOURCE.parents[1] / LOCK
    return (own if own.exists() else otherwise / LOCK).read_bytes()


@contextmanager
def joined(folder: Folder) -> Iterator[BankUnderTest]:
    """The bank that another process has brought up there; its people and numbers are of its own."""
    now = state.ready(folder.state)
    if now is None:
        raise CannotStart(f"no bank is up in {folder.root}")
    with _loop() as loop:
        numbers = itertools.count(JOINED_SERIALS + secrets_of_chance.randbelow(JOINED_SERIALS))
        made = BankUnderTest(folder, now, loop, people(uuid4().hex), _serial=numbers)
        try:
            yield made
        finally:
            made.close()


def _last_lines(folder: Folder) -> str:
    """The end of every log that tells of an error."""
    said = []
    for log in sorted((folder.root / "logs").glob("*.log")):
        lines = log.read_text(errors="replace").splitlines()
        if any("error" in line.lower() or "Traceback" in line for line in lines):
            said += [f"--- {log.stem}", *lines[-LOG_LINES_SHOWN:]]
    return "\n".join(said)


@contextmanager
def _loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
