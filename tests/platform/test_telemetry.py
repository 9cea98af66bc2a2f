"""One request, one trace: over HTTP, the bus and SQL; and nothing confidential on the way."""

import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from cbs.platform import telemetry
from tests.platform.test_bus import Line, line  # noqa: F401 (a fixture)
from tests.platform.test_http import served, service  # noqa: F401 (fixtures)
from tests.serving import Served

TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE}-b7ad6b7169203331-01"


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    telemetry.start_tracing(service="test", ratio=0.000001, exporter=exporter)
    yield exporter
    telemetry.stop_tracing()


async def test_a_request_is_followed_into_sql(spans, served: Served):  # noqa: F811
    async with served.client("olga", "ledger.read") as olga:
        await olga.get("/v1/ledger/accounts/INR-CASH", headers={"traceparent": TRACEPARENT})
        await olga.get("/v1/ledger/accounts/INR-CASH")  # not sampled
    telemetry.flush_tracing()

    found = [each for each in spans.get_finished_spans() if each.name in ("GET", "sql")]
    assert {format(each.context.trace_id, "032x") for each in found} == {TRACE}
    assert [each.name for each in found] == ["sql", "GET"]
    assert found[0].parent is not None and found[0].parent.span_id == found[1].context.span_id


async def test_a_request_is_followed_over_the_bus(spans, line: Line):  # noqa: F811
    with line.as_user("cats.see"), telemetry.span("asked", parent={"traceparent": TRACEPARENT}):
        await line.ask("tom")
    telemetry.flush_tracing()

    found = {each.name: each for each in spans.get_finished_spans()}
    assert {format(each.context.trace_id, "032x") for each in found.values()} == {TRACE}
    assert found["cat"].parent is not None
    assert found["cat"].parent.span_id == found["ledger.cat"].context.span_id


def test_without_tracing_a_span_is_nothing():
    assert telemetry.traceparent() == ""
    with telemetry.span("x") as nothing:
        assert nothing is None


def test_a_log_line_is_one_json_object_without_what_was_in_the_variables(capsys):
    handlers, level = logging.root.handlers, logging.root.level
    try:
        telemetry.start_logging(service="test", level="info")
        token = "eyJ-a-token"
        try:
            raise ValueError("broken")
        except ValueError as error:
            structlog.get_logger().error("request-failed", exc_info=error)
        logging.getLogger("nats").warning("careful")
        assert token
    finally:
        logging.root.handlers, logging.root.level = handlers, level
        structlog.reset_defaults()
        structlog.contextvars.clear_contextvars()
    lines = [json.loads(each) for each in capsys.readouterr().err.splitlines()]

    assert [each["event"] for each in lines] == ["request-failed", "careful"]
    assert lines[0]["exception"][0]["exc_type"] == "ValueError"
    assert "eyJ-a-token" not in json.dumps(lines)
