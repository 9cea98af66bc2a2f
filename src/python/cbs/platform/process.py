"""A service as a process: `serve`, `migrate` or `schema`; told to stop, it leaves, drains, ends."""

import asyncio
import contextlib
import os
import secrets
import signal
import socket
import sys
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import prometheus_client
import structlog
import uvicorn
import uvloop
from litestar import get
from litestar.response import Response

from cbs.platform import telemetry
from cbs.platform.asyncapi import asyncapi
from cbs.platform.database import UNREACHABLE
from cbs.platform.declaration import Declaration
from cbs.platform.http import VERSION
from cbs.platform.migrations import migrate
from cbs.platform.registry import FolderRegistry, Instance
from cbs.platform.service import Build, Runtime, S, Service, service_of
from cbs.platform.settings import PREFIX, Misconfigured, Settings, load
from cbs.platform.uvicorn_protocol import BoundedHttpProtocol, sweep

LEAVE_SECONDS, DRAIN_SECONDS_MAX, PROBE_SECONDS_MAX = 0.3, 10, 2.0
CANCEL_AGAIN_SECONDS = 0.5
DONE, FAILED, USAGE = 0, 1, 2
USAGE_TEXT = "usage: {service} [serve|migrate|schema]"

log = structlog.get_logger()


def run(declaration: Declaration, settings_type: type[S], build: Build[S]) -> None:
    """The `main` of every service; exits."""
    sys.exit(_run(declaration, settings_type, build, sys.argv[1:]))


def _run(
    declaration: Declaration, settings_type: type[S], build: Build[S], argv: Sequence[str]
) -> int:
    command = argv[0] if argv else "serve"
    if len(argv) > 1 or command not in ("serve", "migrate", "schema"):
        print(USAGE_TEXT.format(service=declaration.service), file=sys.stderr)  # noqa: T201
        return USAGE
    try:
        if command == "schema":
            print(schema(built(declaration, settings_type, build)))  # noqa: T201
            return DONE
        if command == "migrate":
            # It asks only the database, and needs to be told nothing that is the service's own.
            settings: Settings = load(Settings)
            telemetry.start_logging(service=declaration.service, level=settings.log_level)
            asyncio.run(migrate(declaration.service, settings.postgres_url))
            return DONE
        settings = load(settings_type)
        telemetry.start_logging(service=declaration.service, level=settings.log_level)
        telemetry.start_tracing(service=declaration.service, ratio=settings.trace_ratio)
        service = service_of(Runtime.of(declaration, settings), build)
        return uvloop.run(_serve(service))
    except Misconfigured as error:
        print(f"{declaration.service}: {error}", file=sys.stderr)  # noqa: T201
        return USAGE


def built(declaration: Declaration, settings_type: type[S], build: Build[S]) -> Service:
    """The service as nobody will start it: needs no server and no settings."""
    files = {
        f"{PREFIX}{field.name.upper()}": os.devnull
        for field in msgspec.structs.fields(settings_type)
        if field.required and field.type is Path
    }
    nothing = {"CBS_POSTGRES_URL": "none:", "CBS_NATS_URL": "none:", **files}
    return service_of(Runtime.of(declaration, load(settings_type, nothing)), build)


def schema(service: Service) -> str:
    """OpenAPI and AsyncAPI of a service as JSON."""
    return msgspec.json.encode(
        {
            "openapi": service.app.openapi_schema.to_schema(),
            "asyncapi": asyncapi(
                service=service.name,
                facts=service.facts,
                endpoints=service.endpoints(),
                version=VERSION,
            ),
        },
        order="sorted",
    ).decode()


@asynccontextmanager
async def started(service: Service, *, patiently: bool = False) -> AsyncIterator[asyncio.Task[Any]]:
    """Connected, answering on the bus, relaying and hearing; all of it stopped at the end.

    Yields a task that ends only if one of the service's own tasks did.
    """
    runtime = service.runtime
    settings = runtime.settings
    await runtime.database.open(patiently=patiently)
    try:
        for check in (*runtime.checks, *service.spec.checks):
            await check()
        await runtime.bus.open(
            url=settings.nats_url, nkey_file=settings.nats_nkey_file, patiently=patiently
        )
        work: dict[str, Coroutine[Any, Any, None]] = {"relay": service.relay.run()}
        work |= {f"hear-{each.source}": each.run() for each in service.consumers}
        work |= {name: _as_coroutine(task()) for name, task in service.spec.tasks.items()}
        tasks = [asyncio.create_task(each, name=name) for name, each in work.items()]
        watch = asyncio.create_task(_first_to_end(tasks))
        try:
            await runtime.bus.serve(*service.endpoints())
            yield watch
        finally:
            await runtime.bus.leave()
            await ended({watch, *tasks})
            await runtime.bus.close()
    finally:
        await runtime.database.close()


async def ended(tasks: set[asyncio.Task[Any]]) -> None:
    """Cancel until it is felt: `asyncio.wait_for` loses a cancellation that meets a result, and
    the bus's client waits with it (mended in Python 3.12)."""
    left = tasks
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=CANCEL_AGAIN_SECONDS)
    await asyncio.gather(*tasks, return_exceptions=True)


async def _as_coroutine(awaitable: Any) -> None:
    await awaitable


async def _first_to_end(tasks: Sequence[asyncio.Task[None]]) -> str:
    ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    task = ended.pop()
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("task-failed", task=task.get_name(), exc_info=error)
    return task.get_name()


class _Server(uvicorn.Server):
    """uvicorn without its own signal handling: leaving the registry comes before draining."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Probe:
    """Answers whether this process lives, and whether it should get requests."""

    def __init__(self, service: Service) -> None:
        self.service, self.leaving = service, False

    async def ready(self) -> dict[str, Any]:
        runtime = self.service.runtime
        state = {"service": self.service.name, "version": VERSION}
        if self.leaving:
            return state | {"status": "leaving"}
        if not runtime.bus.connected:
            return state | {"status": "no-bus"}
        try:
            async with asyncio.timeout(PROBE_SECONDS_MAX):
                queues = await self.service.queues()
        except UNREACHABLE as error:
            log.warning("not-ready", error=repr(error))
            return state | {"status": "no-database"}
        for name, depth in queues.items():
            telemetry.QUEUE_DEPTH.labels(name).set(depth)
        return state | {"status": "ready", "queues": queues}

    def routes(self) -> list[Any]:
        @get("/health/live", include_in_schema=False)
        async def live() -> dict[str, str]:
            return {"status": "alive"}

        @get("/health/ready", include_in_schema=False)
        async def ready() -> Response[dict[str, Any]]:
            state = await self.ready()
            return Response(state, status_code=200 if state["status"] == "ready" else 503)

        @get("/metrics", include_in_schema=False, media_type="text/plain; version=0.0.4")
        async def metrics() -> bytes:
            return prometheus_client.generate_latest()

        return [live, ready, metrics]


async def _serve(service: Service) -> int:
    settings = service.runtime.settings
    probe = Probe(service)
    for route in probe.routes():
        service.app.register(route)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with started(service, patiently=True) as broken:
        server = _Server(
            uvicorn.Config(
                service.admission,
                host=settings.http_host,
                port=settings.http_port,
                loop="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=DRAIN_SECONDS_MAX,
                http=BoundedHttpProtocol,
            )
        )
        serving = asyncio.create_task(server.serve())
        sweeping = asyncio.create_task(sweep(server))
        listening = asyncio.create_task(server.listening.wait())
        await asyncio.wait({serving, listening}, return_when=asyncio.FIRST_COMPLETED)
        if not listening.done():
            return FAILED
        port = server.servers[0].sockets[0].getsockname()[1]
        with _joined(service, port):
            log.info("ready", port=port)
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait({stopping, broken, serving}, return_when=asyncio.FIRST_COMPLETED)
            probe.leaving = True
        # Callers need a moment to see that we left before we stop listening.
        await asyncio.sleep(LEAVE_SECONDS)
        server.should_exit = True
        await serving
        stopping.cancel()
        sweeping.cancel()
        failed = broken.done()
    telemetry.stop_tracing()
    log.info("left")
    return FAILED if failed else DONE


@contextlib.contextmanager
def _joined(service: Service, port: int) -> Iterator[None]:
    settings = service.runtime.settings
    if settings.registry_folder is None:
        yield
        return
    registry = FolderRegistry(settings.registry_folder)
    instance = Instance(
        service=service.name,
        instance=f"{os.getpid()}-{secrets.token_hex(3)}",
        host=settings.http_host,
        port=port,
        version=VERSION,
        pid=os.getpid(),
        sha=settings.sha,
    )
    registry.join(instance)
    try:
        yield
    finally:
        registry.leave(instance)
