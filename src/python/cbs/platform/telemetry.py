"""What a service tells its operators: JSON log lines, sampled traces and Prometheus counts.

Tracing costs nothing measurable when it is off; sampled, it follows a request over HTTP, NATS and
SQL (W3C trace context). Bodies, tokens and personal data are never logged or traced.
"""

import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext

import structlog
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from prometheus_client import Counter, Gauge, Histogram

REQUESTS = Counter("cbs_requests_total", "Requests answered", ["protocol", "operation", "outcome"])
SECONDS = Histogram(
    "cbs_request_seconds",
    "Time to answer a request",
    ["protocol", "operation"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
QUEUE_DEPTH = Gauge("cbs_queue_depth", "Work that waits, by queue", ["queue"])
FACTS = Counter("cbs_facts_total", "Facts relayed or heard", ["direction", "source"])
BATCH = Histogram(
    "cbs_batch_size", "Requests decided in one transaction", buckets=(1, 2, 4, 8, 16, 32, 64, 128)
)

# structlog's own `dict_tracebacks` writes local variables: tokens, bodies and personal data.
TRACEBACKS = structlog.processors.ExceptionRenderer(
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
)

_PROPAGATOR = TraceContextTextMapPropagator()
_KINDS = {"server": SpanKind.SERVER, "client": SpanKind.CLIENT, "internal": SpanKind.INTERNAL}
_tracer: trace.Tracer | None = None


def start_logging(*, service: str, level: str) -> None:
    """One JSON object a line on standard error, standard library loggers included."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        TRACEBACKS,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    logging.root.handlers = [handler]
    logging.root.setLevel(level.upper())
    structlog.contextvars.bind_contextvars(service=service)


def start_tracing(*, service: str, ratio: float, exporter: SpanExporter | None = None) -> None:
    """Trace this share of requests; spans go in batches to OTEL_EXPORTER_OTLP_ENDPOINT."""
    global _tracer
    if ratio <= 0:
        return
    provider = TracerProvider(
        sampler=ParentBased(TraceIdRatioBased(ratio)),
        resource=Resource.create({"service.name": service}),
    )
    provider.add_span_processor(BatchSpanProcessor(exporter or _otlp()))
    _tracer = provider.get_tracer("cbs")


def _otlp() -> SpanExporter:
    # Here, so that a service that traces nothing does not load protobuf and requests.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter()


def flush_tracing() -> None:
    """Send what has been recorded so far."""
    processor = getattr(_tracer, "span_processor", None)
    if processor is not None:
        processor.force_flush()


def stop_tracing() -> None:
    """Send what is left; later spans are not recorded."""
    global _tracer
    provider = getattr(_tracer, "span_processor", None)
    _tracer = None
    if provider is not None:
        provider.shutdown()


def span(
    name: str, *, kind: str = "internal", parent: Mapping[str, str] | None = None, **attributes: str
) -> AbstractContextManager[None]:
    """A step of the request in hand. `parent` is the trace context that came with the request."""
    if _tracer is None:
        return nullcontext()
    return _recorded(_tracer, name, kind, parent, attributes)


@contextmanager
def _recorded(
    tracer: trace.Tracer,
    name: str,
    kind: str,
    parent: Mapping[str, str] | None,
    attributes: Mapping[str, str],
) -> Iterator[None]:
    context = _PROPAGATOR.extract(parent) if parent else otel_context.get_current()
    with tracer.start_as_current_span(
        name, context=context, kind=_KINDS[kind], attributes=dict(attributes)
    ):
        yield


def traceparent() -> str:
    """The W3C header for what is called next; empty when this request is not traced."""
    if _tracer is None:
        return ""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier.get("traceparent", "")
