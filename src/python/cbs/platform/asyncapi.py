"""AsyncAPI 3 for what a service says and answers on the bus, from the types it says it with."""

from collections.abc import Sequence
from typing import Any

import msgspec

from cbs.kernel.event import Event
from cbs.platform.bus import Endpoint
from cbs.platform.openapi import X_REFUSALS, X_REFUSALS_MEAN
from cbs.platform.outbox import CloudEvent
from cbs.platform.problem import always, in_order

REF = "#/components/schemas/{name}"


def asyncapi(
    *, service: str, facts: Sequence[type[Event]], endpoints: Sequence[Endpoint[Any]], version: str
) -> dict[str, Any]:
    """The document, sorted, so that the same types give the same bytes."""
    shapes = [CloudEvent, *facts, *(e.takes for e in endpoints), *(e.gives for e in endpoints)]
    schemas, components = msgspec.json.schema_components(shapes, ref_template=REF)
    shown = dict(zip(map(id, shapes), schemas, strict=True))
    document: dict[str, Any] = {
        "asyncapi": "3.0.0",
        "info": {
            "title": f"CBS {service}",
            "version": version,
            "description": X_REFUSALS_MEAN,
        },
        "defaultContentType": "application/json",
        "channels": {},
        "operations": {},
        "components": {"schemas": components, "messages": {}},
    }
    for fact in facts:
        _add_fact(document, service, fact, shown[id(fact)])
    for endpoint in endpoints:
        _add_endpoint(document, service, endpoint, shown)
    return document


def _add_fact(document: dict[str, Any], service: str, fact: type[Event], data: Any) -> None:
    name = fact.fact
    envelope = {"$ref": REF.format(name="CloudEvent")}
    document["components"]["messages"][name] = {
        "name": name,
        "summary": " ".join((fact.__doc__ or "").split()),
        "payload": {"allOf": [envelope, {"properties": {"data": data}}]},
    }
    document["channels"][name] = {
        "address": f"cbs.{service}.events.{name}",
        "messages": {name: {"$ref": f"#/components/messages/{name}"}},
    }
    document["operations"][f"publish-{name}"] = {
        "action": "send",
        "channel": {"$ref": f"#/channels/{name}"},
    }


def _add_endpoint(
    document: dict[str, Any], service: str, endpoint: Endpoint[Any], shown: dict[int, Any]
) -> None:
    verb = endpoint.verb
    messages = document["components"]["messages"]
    messages[f"{verb}-request"] = {"payload": shown[id(endpoint.takes)]}
    messages[f"{verb}-reply"] = {"payload": shown[id(endpoint.gives)]}
    document["channels"][f"{verb}-request"] = {
        "address": f"cbs.{service}.{verb}",
        "messages": {f"{verb}-request": {"$ref": f"#/components/messages/{verb}-request"}},
    }
    document["channels"][f"{verb}-reply"] = {
        "address": None,
        "messages": {f"{verb}-reply": {"$ref": f"#/components/messages/{verb}-reply"}},
    }
    document["operations"][verb] = {
        "action": "receive",
        "summary": endpoint.doc,
        "channel": {"$ref": f"#/channels/{verb}-request"},
        "reply": {"channel": {"$ref": f"#/channels/{verb}-reply"}},
        X_REFUSALS: in_order(
            *always(needs_permission=endpoint.permission is not None), *endpoint.refuses
        ),
    }
