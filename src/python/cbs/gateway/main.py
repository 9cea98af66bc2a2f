"""The gateway is Envoy and a process that tells it where services are; neither outlives the other.

Told to stop, it stops being ready, Envoy closes connections as their requests end, then both go.
"""

import asyncio
import logging
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
import structlog

from cbs.bank import SERVICES
from cbs.gateway import envoy
from cbs.gateway.certificates import Certificates
from cbs.gateway.following import Follower, tell_fixed
from cbs.gateway.places import write_endpoints
from cbs.gateway.readiness import answering
from cbs.gateway.settings import GatewaySettings, settings_of
from cbs.platform import telemetry
from cbs.platform.child import CannotStart
from cbs.platform.consul import Consul
from cbs.platform.files import write_whole
from cbs.platform.registry import FolderRegistry, Registry
from cbs.platform.settings import Misconfigured

LEAVE_SECONDS, DRAIN_SECONDS_MIN, DRAIN_SECONDS_MAX, STOP_SECONDS_MAX = 0.5, 1, 20, 5
POLL_SECONDS = 0.1
DONE, FAILED, USAGE = 0, 1, 2

log = structlog.get_logger()


@dataclass(slots=True)
class Gateway:
    settings: GatewaySettings
    admin: httpx.AsyncClient
    followers: list[Follower] = field(default_factory=list)
    certificates: list[Certificates] = field(default_factory=list)
    leaving: bool = False

    async def state(self) -> str:
        """`ready`, or what keeps it from being that."""
        if self.leaving:
            return "leaving"
        if not all(each.answered.is_set() for each in self._work()):
            return "no-registry"
        return "ready" if await self._said("GET", "/ready") is not None else "no-envoy"

    async def run(self) -> int:
        """Until told to stop or something breaks; the exit code."""
        settings, stop = self.settings, asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        self._prepare()
        async with answering(settings.http_host, settings.health_port, self.state):
            dead = asyncio.create_task(self._envoy())
            told = asyncio.create_task(stop.wait())
            work = [asyncio.create_task(each.run()) for each in self._work()]
            watched: set[asyncio.Task[Any]] = {dead, told, *work}
            try:
                await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
                if told.done() and not dead.done():
                    await self._drain(dead)
                    return DONE
                log.error("broken", envoy_exit=dead.result() if dead.done() else None)
                for following in work:
                    if following.done():
                        following.result()
                return FAILED
            finally:
                for task in (dead, told, *work):
                    task.cancel()
                await asyncio.gather(dead, told, *work, return_exceptions=True)

    def _work(self) -> Iterator[Follower | Certificates]:
        yield from self.followers
        yield from self.certificates

    async def _envoy(self) -> int:
        """How it ended. It begins when its certificates are there: without it would not."""
        for each in self.certificates:
            await each.answered.wait()
        argv = envoy.command(self.settings.gateway_folder / "envoy.json")
        process = await asyncio.create_subprocess_exec(*argv, stdin=subprocess.DEVNULL)
        try:
            return await process.wait()
        finally:
            await _ended(process)

    def _prepare(self) -> None:
        settings, folder = self.settings, self.settings.gateway_folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for service in SERVICES:
            write_endpoints(folder, service, [])
        tell_fixed(folder, settings.fixed())
        text = envoy.bootstrap(
            edge=folder,
            host=settings.http_host,
            port=settings.http_port,
            admin_port=settings.admin_port,
            jwks=settings.jwks_file,
            mesh=bool(settings.mesh_name),
        )
        write_whole(folder / "envoy.json", text)
        if registry := registry_of(settings):
            self.followers = [
                Follower(registry=registry, service=service, folder=folder) for service in SERVICES
            ]
        if settings.mesh_name:
            consul = Consul.at(settings.consul_url, settings.consul_token_file)
            mine = Certificates(consul=consul, name=settings.mesh_name, folder=folder)
            self.certificates = [mine]

    async def _drain(self, dead: "asyncio.Task[int]") -> None:
        """Whoever sends requests here has a moment to see that it is not ready any more."""
        self.leaving = True
        await asyncio.sleep(LEAVE_SECONDS)
        loop = asyncio.get_running_loop()
        began = loop.time()
        # Answers now say `Connection: close`; the listener stays until connections had time to go.
        await self._said("POST", "/healthcheck/fail")
        await self._said("POST", "/drain_listeners?graceful")
        while not dead.done() and loop.time() < began + DRAIN_SECONDS_MAX:
            # Those that are idle are closed with Envoy; nobody waits for them.
            busy = await self._said("GET", "/stats?filter=http.public.downstream_rq_active$")
            quiet = busy is None or busy.rstrip().endswith(": 0")
            if quiet and loop.time() > began + DRAIN_SECONDS_MIN:
                return
            await asyncio.sleep(POLL_SECONDS)

    async def _said(self, method: str, path: str) -> str | None:
        try:
            answer = await self.admin.request(method, path)
        except httpx.HTTPError:
            return None
        return answer.text if answer.status_code == httpx.codes.OK else None


def registry_of(settings: GatewaySettings) -> Registry | None:
    if settings.registry_folder:
        return FolderRegistry(settings.registry_folder)
    if settings.consul_url:
        return Consul.at(settings.consul_url, settings.consul_token_file)
    return None


async def _ended(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), STOP_SECONDS_MAX)
    except TimeoutError:
        process.kill()


async def serve(settings: GatewaySettings) -> int:
    url = f"http://127.0.0.1:{settings.admin_port}"
    async with httpx.AsyncClient(base_url=url, timeout=2, trust_env=False) as admin:
        return await Gateway(settings, admin).run()


def run(argv: Sequence[str]) -> int:
    if list(argv) not in ([], ["serve"]):
        print("usage: gateway [serve]", file=sys.stderr)  # noqa: T201
        return USAGE
    try:
        settings = settings_of()
        telemetry.start_logging(service="gateway", level=settings.log_level)
        # It tells every question it asks, which is one a second and more.
        logging.getLogger("httpx").setLevel(logging.WARNING)
        return asyncio.run(serve(settings))
    except Misconfigured as error:
        print(f"gateway: {error}", file=sys.stderr)  # noqa: T201
        return USAGE
    except (CannotStart, OSError) as error:
        print(f"gateway: {error}", file=sys.stderr)  # noqa: T201
        return FAILED


def main() -> None:
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
