"""Whatever a service's OpenAPI says it answers, it answers, for inputs nobody thought of."""

import asyncio
import socket
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import schemathesis
import uvicorn
from hypothesis import strategies as st
from schemathesis.config import SchemathesisConfig
from schemathesis.core.failures import Failure
from schemathesis.engine import events, from_schema
from schemathesis.generation.case import Case
from schemathesis.hooks import HookContext
from schemathesis.openapi.checks import RejectedPositiveData

from cbs.kernel.account_number import account_number
from cbs.platform.process import started
from cbs.platform.service import Service

REQUEST_SECONDS_MAX = 20
START_SECONDS_MAX, STOP_SECONDS_MAX = 30, 30
EXAMPLES = 15
CHECKS = (
    "content_type_conformance",
    "ensure_resource_availability",
    "ignored_auth",
    "missing_required_header",
    "negative_data_rejection",
    "not_a_server_error",
    "positive_data_acceptance",
    "response_headers_conformance",
    "response_schema_conformance",
    "status_code_conformance",
    "unsupported_method",
    "use_after_free",
)
UNFIT = {
    "allow_header_conformance": "it wants OPTIONS to list methods, which Litestar does its own way",
    "object_level_authorization": "permissions are for kinds of objects: there is no owner to ask",
}

schemathesis.openapi.format(
    "account-number",
    st.builds(account_number, branch=st.integers(1, 10**4 - 1), serial=st.integers(1, 10**9 - 1)),
)


@dataclass(frozen=True, slots=True)
class Wrong:
    """An answer that does not conform: at which operation, what is said of it, with a curl line."""

    operation: str
    said: str

    def __str__(self) -> str:
        return f"{self.operation}: {self.said}"

    @property
    def kind(self) -> str:
        """The check and its title, of this operation: what it says before the example."""
        return str(self).splitlines()[0]


@dataclass(slots=True)
class Tried:
    """How many cases each operation got, how they were answered, and what was wrong with that."""

    cases: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    failures: list[Wrong] = field(default_factory=list)


def fuzz(
    document: dict[str, Any],
    url: str,
    token: str,
    *,
    seed: int,
    examples: int = EXAMPLES,
    tell: Callable[[Tried], None] = lambda _: None,
) -> Tried:
    """Every phase of schemathesis on every operation: each constraint's edges, random data, and
    calls in a row that hand on each other's ids. `examples`: random ones, for an operation."""
    schema = schemathesis.openapi.from_dict(document, config=SchemathesisConfig(seed=seed))
    schema.hook(filter_failure)
    config = schema.config
    config.update(
        base_url=url,
        headers={"Authorization": f"Bearer {token}"},
        request_timeout=REQUEST_SECONDS_MAX,
        continue_on_failure=True,
    )
    config.generation.max_examples = examples
    config.generation.database = "none"
    # Envoy's parser knows no QUERY: it answers 400 where the check wants 405, wherever it is asked.
    # What is right for that method is in tests/fuzz/wrong.py.
    coverage = config.phases.coverage
    coverage.unexpected_methods = coverage.unexpected_methods - {"query"}
    config.checks.update(included_check_names=list(CHECKS))
    tried = Tried()
    with warnings.catch_warnings():
        # The service's thread rolls dice while Hypothesis watches.
        warnings.filterwarnings("ignore", message="Do not use the `random` module")
        for event in from_schema(schema).execute():
            _note(event, tried)
            tell(tried)
    return tried


def _note(event: events.EngineEvent, tried: Tried) -> None:
    if isinstance(event, events.NonFatalError):
        tried.failures.append(Wrong(event.label, repr(event.value)))
    elif isinstance(event, events.FatalError):
        raise event.exception
    elif isinstance(event, events.ScenarioFinished):
        for id, node in event.recorder.cases.items():
            sent = event.recorder.interactions.get(id)
            if sent is not None:
                tried.cases[node.value.operation.label] += 1
                tried.statuses[sent.response.status_code if sent.response else 0] += 1
        for id, checks in event.recorder.checks.items():
            operation = event.recorder.cases[id].value.operation.label
            tried.failures += [
                Wrong(operation, f"{check.name}: {found.failure}\n    {found.code_sample}")
                for check in checks
                if (found := check.failure_info) is not None
            ]


def filter_failure(_: HookContext, failure: Failure, case: Case, __: Any) -> bool:
    """No schema can say which cursors are ours, that a period begins before it ends, or that a
    whole number is written as one: to JSON Schema 7.0 is an integer."""
    query = case.query or {}
    beyond = "cursor" in query or {"from", "to"} <= query.keys()
    beyond = beyond or _has_fraction(case.body) or _has_fraction(query)
    return not (isinstance(failure, RejectedPositiveData) and beyond)


def _has_fraction(value: object) -> bool:
    if isinstance(value, Mapping):
        return any(map(_has_fraction, value.values()))
    if isinstance(value, list):
        return any(map(_has_fraction, value))
    return isinstance(value, float)


def operations_that_conform(service: Service, url: str, token: str) -> set[str]:
    """Try every operation of the real app over HTTP, with a token that permits it."""
    tried = fuzz(service.app.openapi_schema.to_schema(), url, token, seed=1)
    assert not tried.failures, "\n\n".join(map(str, tried.failures[:10]))
    return set(tried.cases)


@contextmanager
def listening(service: Service) -> Iterator[str]:
    """The service on a port of its own, on an event loop of its own; yields its URL."""
    config = uvicorn.Config(service.admission, lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    # Named as TCP: asyncio sends at once what is written to such a socket, and to no other.
    listener = socket.socket(proto=socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))

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
