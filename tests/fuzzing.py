"""Whatever a service's OpenAPI says it answers, it answers, for inputs nobody thought of."""

import asyncio
import socket
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import schemathesis
import uvicorn
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.generation.case import Case
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    positive_data_acceptance,
    response_schema_conformance,
    status_code_conformance,
)

from cbs.platform.process import started
from cbs.platform.service import Service

EXAMPLES_MAX, REQUEST_SECONDS_MAX = 25, 10
START_SECONDS_MAX, STOP_SECONDS_MAX = 30, 30
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
]


@contextmanager
def listening(service: Service) -> Iterator[str]:
    """The service on a port of its own, on an event loop of its own; yields its URL."""
    config = uvicorn.Config(service.edge, lifespan="off", log_config=None)
    server, listener = uvicorn.Server(config), socket.create_server(("127.0.0.1", 0))

    async def serve() -> None:
        async with started(service):
            await server.serve(sockets=[listener])

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    deadline = time.monotonic() + START_SECONDS_MAX
    while not server.started:
        assert thread.is_alive() and time.monotonic() < deadline, "the service did not start"
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(STOP_SECONDS_MAX)
        listener.close()
    assert not thread.is_alive(), "the service did not stop"


def operations_that_conform(service: Service, url: str, token: str) -> list[str]:
    """Try every operation of the real app over HTTP, with a token that permits it."""
    document: dict[str, Any] = service.app.openapi_schema.to_schema()
    schema = schemathesis.openapi.from_dict(document)
    tried = []
    for found in schema.get_all_operations():
        assert isinstance(found, Ok), found
        operation = found.ok()

        @settings(
            max_examples=EXAMPLES_MAX,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def conforms(case: Case) -> None:
            response = case.call(
                base_url=url,
                headers={"Authorization": f"Bearer {token}"},
                timeout=REQUEST_SECONDS_MAX,
            )
            # No schema can say which cursors are ours.
            opaque = "cursor" in (case.query or {})
            accepted = [] if opaque else [positive_data_acceptance]
            case.validate_response(response, checks=[*CHECKS, *accepted])

        with warnings.catch_warnings():
            # The service's thread rolls dice while Hypothesis watches.
            warnings.filterwarnings("ignore", message="Do not use the `random` module")
            conforms()
        tried.append(operation.label)
    return tried
