"""Two versions of a service on one bus: who is asked, and who is asked again, on a real NATS."""

import asyncio
import json
import os
import signal
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import nats
import pytest

from cbs.kernel.refusal import RefusalKind
from cbs.platform.bus import Bus, Endpoint
from cbs.platform.context import Context, within
from cbs.platform.envelope import RemoteRefusal, reply_with
from cbs.tools.local import nats_server
from cbs.tools.local.ports import choose, is_open
from cbs.tools.local.process import running
from tests.nats_flush import flushed
from tests.platform.buses import bus_of
from tests.signing import Signer

GOOD, BAD = "a" * 40, "b" * 40
RELOADED = "Reloaded server configuration"


class Asked(msgspec.Struct):
    number: int = 0


class Version:
    """Answers how it is told to and keeps the keys that it was asked with."""

    def __init__(self, name: str) -> None:
        self.name, self.ill = name, False
        self.keys: list[str] = []

    async def tell(self, asked: Asked, key: str) -> str:
        self.keys.append(key)
        if self.ill:
            raise ZeroDivisionError
        return self.name


@asynccontextmanager
async def served(url: str, folder: Path, signer: Signer, version: Version, sha: str):
    bus = await bus_of("ledger", url, folder, signer)
    bus.sha = sha
    endpoint = Endpoint(verb="tell", takes=Asked, gives=str, handle=version.tell, permission=None)
    await bus.serve(endpoint)
    try:
        yield bus
    finally:
        await bus.leave()
        await bus.close()


@asynccontextmanager
async def asking(url: str, folder: Path, signer: Signer):
    caller = await bus_of("payments", url, folder, signer)
    principal = caller.tokens.principal(token := signer.token("tara"))
    try:
        with within(Context(principal=principal, token=token)):
            yield caller
    finally:
        await caller.close()


async def tell(caller: Bus, key: str = "") -> str:
    return await caller.call("ledger.tell", Asked(), str, key=key)


# --- who is asked again -------------------------------------------------------------------------


class Mapped:
    """A server whose subjects are mapped as nomad/jobs/nats.nomad.hcl does it."""

    pid = 0

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self.conf, self.url = folder / "nats.conf", f"nats://127.0.0.1:{port}"
        self.write({})

    def write(self, mappings: dict[str, object]) -> None:
        account = {"jetstream": "enabled", "users": [{"user": "all"}], "mappings": mappings}
        whole = {
            "host": "127.0.0.1",
            "port": self.port,
            "no_auth_user": "all",
            "jetstream": {"store_dir": str(self.folder)},
            "accounts": {"BANK": account},
        }
        self.conf.write_text(json.dumps(whole))

    async def give(self, percent: int) -> None:
        """So much to the bad version; returns when it is so."""
        to = "cbs.ledger.{{wildcard(1)}}.on"
        good = {"destination": f"{to}.{GOOD}", "weight": f"{100 - percent}%"}
        bad = {"destination": f"{to}.{BAD}", "weight": f"{percent}%"}
        again = [{"destination": f"{to}.{GOOD}", "weight": "100%"}]
        self.write({"cbs.ledger.*": [good, bad], "cbs.ledger.*.again": again})
        before = (self.folder / "log").read_text().count(RELOADED)
        os.kill(self.pid, signal.SIGHUP)
        async with asyncio.timeout(20):
            while True:
                if before < (self.folder / "log").read_text().count(RELOADED):
                    return
                await asyncio.sleep(0.02)


@pytest.fixture
def mapped(tmp_path):
    claim = choose(14222)
    server = Mapped(tmp_path, claim.port)
    ready = lambda: is_open(claim.port)
    with running(
        nats_server.command(server.conf), log=tmp_path / "log", is_ready=ready
    ) as server.pid:
        yield server
    claim.release()


async def test_a_canary_gets_its_share_and_what_it_cannot_do_another_does_with_the_same_key(
    mapped, tmp_path
):
    signer, good, bad = Signer(), Version("good"), Version("bad")
    async with (
        served(mapped.url, tmp_path, signer, good, GOOD),
        served(mapped.url, tmp_path, signer, bad, BAD),
        asking(mapped.url, tmp_path, signer) as caller,
    ):
        for each in range(100):
            await tell(caller, key=f"even-{each}")
        assert len(bad.keys) > 25  # without weights it has its part as every instance has

        await mapped.give(10)
        good.keys.clear()
        bad.keys.clear()
        bad.ill = True
        told = [await tell(caller, key=f"key-{each}") for each in range(1000)]

    assert told == ["good"] * 1000
    assert sorted(good.keys) == sorted(f"key-{each}" for each in range(1000))
    assert set(bad.keys) <= set(good.keys)
    # 100 are expected, with a standard deviation of 9.5.
    assert 50 < len(bad.keys) < 150


async def test_a_canary_that_is_gone_costs_nobody_an_answer(mapped, tmp_path):
    signer, good = Signer(), Version("good")
    async with (
        served(mapped.url, tmp_path, signer, good, GOOD),
        asking(mapped.url, tmp_path, signer) as caller,
    ):
        await mapped.give(50)
        told = [await tell(caller, key=f"key-{each}") for each in range(40)]

    assert told == ["good"] * 40
    assert len(good.keys) == 40


async def test_an_outage_that_two_instances_tell_of_is_one(nats_url, tmp_path):
    signer, ill = Signer(), Version("ill")
    ill.ill = True
    async with (
        served(nats_url, tmp_path, signer, ill, ""),
        asking(nats_url, tmp_path, signer) as caller,
    ):
        with pytest.raises(RemoteRefusal) as caught:
            await tell(caller)

    assert caught.value.kind is RefusalKind.UNAVAILABLE
    assert len(ill.keys) == 2


async def test_who_was_released_before_there_was_an_again_is_asked_as_before(nats_url, tmp_path):
    signer, times = Signer(), 0
    old = await nats.connect(nats_url)

    async def answer(message) -> None:
        nonlocal times
        times += 1
        if times > 1:
            await message.respond(reply_with("old"))

    await old.subscribe("cbs.ledger.tell", cb=answer)
    await flushed(old)
    async with asking(nats_url, tmp_path, signer) as caller:
        assert await tell(caller) == "old"
    await old.close()
    assert times == 2


class Recording:
    """A connection that keeps what goes out, in its order."""

    def __init__(self, transport) -> None:
        self.transport, self.said = transport, bytearray()

    def write(self, data) -> None:
        self.said += data
        self.transport.write(data)

    def writelines(self, lines) -> None:
        self.said += b"".join(lines)
        self.transport.writelines(lines)

    def __getattr__(self, name):
        return getattr(self.transport, name)


async def test_a_service_that_serves_is_there_for_everybody(nats_url, tmp_path):
    """The server has answered after it had all that is subscribed to."""
    bus = await bus_of("ledger", nats_url, tmp_path, Signer())
    bus.sha = GOOD
    line = Recording(bus._client._transport)
    bus._client._transport = line  # type: ignore[assignment]
    try:
        await bus.serve(
            Endpoint(verb="tell", takes=Asked, gives=str, handle=Version("").tell, permission=None)
        )
        assert b"cbs.ledger.tell.on." in line.said
        assert line.said.rindex(b"PING") > line.said.rindex(b"SUB ")
    finally:
        await bus.leave()
        await bus.close()
