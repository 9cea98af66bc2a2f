"""Three real NATS servers, or one, with the bank's own configuration, to be killed by tests."""

import asyncio
import json
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any

import nats
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from cbs.platform.bus import Bus
from cbs.platform.declaration import Declaration, permissions
from cbs.tools.local import nats_server, secrets
from cbs.tools.local.ports import choose
from tests.platform.buses import bus_of
from tests.signing import Signer

SERVERS, READY_SECONDS_MAX, POLL_SECONDS = 3, 60, 0.1
BANK = (
    Declaration(service="ledger", serves=("cat",)),
    Declaration(service="payments", calls=("ledger.cat",)),
    Declaration(service="audit", hears=("ledger",)),
)


@dataclass
class Server:
    """One of the cluster; frozen, it is there and says nothing, as behind a cut cable."""

    name: str
    url: str
    health_url: str
    conf: Path
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        if self.process is None or self.process.poll() is not None:
            with self.conf.with_suffix(".log").open("ab") as log:
                self.process = subprocess.Popen(
                    nats_server.command(self.conf), stdin=subprocess.DEVNULL, stdout=log, stderr=log
                )

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    @property
    def store(self) -> Path:
        return self.conf.with_suffix("")

    def freeze(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def leave(self) -> None:
        """As Nomad ends it: its clients are sent to the others."""
        assert self.process is not None
        self.process.send_signal(signal.SIGUSR2)
        self.process.wait(60)

    @property
    def well(self) -> bool:
        """As the job's check asks: what it keeps is there, and as new as with the others."""
        try:
            with urllib.request.urlopen(self.health_url, timeout=2) as answer:
                return bool(answer.status == 200)
        except (OSError, HTTPException):
            return False

    def messages(self, stream: str) -> int:
        """How many of a stream this server itself has."""
        url = self.health_url.replace("/healthz", "/jsz?acc=BANK&streams=true")
        with urllib.request.urlopen(url, timeout=5) as answer:
            (account,) = json.load(answer)["account_details"]
        (found,) = (each for each in account["stream_detail"] if each["name"] == stream)
        return int(found["state"]["messages"])


@dataclass
class Cluster:
    folder: Path
    servers: list[Server] = field(default_factory=list)

    @property
    def url(self) -> str:
        return ",".join(each.url for each in self.servers)

    def named(self, name: str) -> Server:
        (found,) = (each for each in self.servers if each.name == name)
        return found

    def all_well(self) -> None:
        """Start who is away, and wait until each has all that it should keep."""
        deadline = time.monotonic() + READY_SECONDS_MAX
        for each in self.servers:
            each.start()
        while not all(each.well for each in self.servers):
            assert time.monotonic() < deadline, self.said()
            time.sleep(POLL_SECONDS)

    def said(self) -> str:
        return "\n".join(log.read_text()[-2000:] for log in self.folder.glob("*.log"))

    @asynccontextmanager
    async def administrator(self) -> Any:
        seed = str(self.folder / nats_server.ADMIN)
        client = await nats.connect([each.url for each in self.servers], nkeys_seed=seed)
        try:
            yield client.jetstream()
        finally:
            await client.close()

    async def bus(self, service: str, signer: Signer, *, url: str = "") -> Bus:
        nkey_file = self.folder / service
        return await bus_of(service, url or self.url, self.folder, signer, nkey_file=nkey_file)


async def leader_of(streams: JetStreamContext, stream: str, *, other_than: str = "") -> str:
    """Who leads it, as soon as anybody (or anybody else) does."""
    async with asyncio.timeout(READY_SECONDS_MAX):
        while True:
            try:
                found = await streams.stream_info(stream)
            except nats.errors.Error:
                found = None
            leader = found.cluster.leader if found and found.cluster else None
            if leader and leader != other_than:
                return leader
            await asyncio.sleep(POLL_SECONDS)


@contextmanager
def running(folder: Path, count: int = SERVERS) -> Iterator[Cluster]:
    users = {}
    may = {each.service: permissions(each) for each in BANK} | {
        nats_server.ADMIN: nats_server.EVERYTHING
    }
    for user, allowed in may.items():
        seed = secrets.new_nkey()
        (folder / user).write_text(seed)
        users[user] = (secrets.public_nkey(seed), allowed)
    claims = [choose(14300) for _ in range(3 * count)]
    ports = [claim.port for claim in claims]
    clients, routes, monitors = ports[:count], ports[count:-count], ports[-count:]
    cluster = Cluster(folder)
    for number, (client, route, monitor) in enumerate(zip(clients, routes, monitors, strict=True)):
        name = f"nats-{number}"
        member = nats_server.Member(
            name=name, port=route, others=tuple(routes), password=nats_server.TEST_PASSWORD
        )
        conf, among = folder / f"{name}.conf", None if count == 1 else member
        said = nats_server.bank_conf(port=client, store=folder / name, users=users, member=among)
        conf.write_text(json.dumps(json.loads(said) | {"http": f"127.0.0.1:{monitor}"}))
        url, health_url = f"nats://127.0.0.1:{client}", f"http://127.0.0.1:{monitor}/healthz"
        cluster.servers.append(Server(name, url, health_url, conf))
    try:
        cluster.all_well()
        yield cluster
    finally:
        for each in cluster.servers:
            if each.process is not None:
                each.kill()
        for claim in claims:
            claim.release()


async def without_stream(streams: JetStreamContext, stream: str) -> None:
    """Returns when there is none; a cluster that has just lost its leader answers nothing."""
    async with asyncio.timeout(READY_SECONDS_MAX):
        while True:
            try:
                await streams.delete_stream(stream)
            except NotFoundError:
                return
            except nats.errors.Error:
                await asyncio.sleep(POLL_SECONDS)
