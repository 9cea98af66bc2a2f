"""OpenAPI that tells the truth: a closed struct is closed, and refusals stand in their order."""

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import msgspec
from litestar._openapi.schema_generation.plugins.struct import StructSchemaPlugin
from litestar._openapi.schema_generation.schema import SchemaCreator
from litestar.openapi.spec import Operation, Schema
from litestar.plugins import ReceiveRoutePlugin
from litestar.routes import BaseRoute, HTTPRoute
from litestar.typing import FieldDefinition

from cbs.platform.problem import Refusals

X_REFUSALS = "x-refusals"
X_REFUSALS_MEAN = (
    "`x-refusals` are the codes with which an operation refuses, in their order: of a request that"
    " deserves several, the first is the answer. `unavailable` may come instead of any."
)


class ClosedStructs(StructSchemaPlugin):
    """Litestar 2.25 leaves out `additionalProperties`, and the bounds of an optional number,
    whatever the struct says."""

    def to_openapi_schema(
        self, field_definition: FieldDefinition, schema_creator: SchemaCreator
    ) -> Schema:
        schema = super().to_openapi_schema(field_definition, schema_creator)
        if field_definition.type_.__struct_config__.forbid_unknown_fields:
            schema.additional_properties = False
        for name, number in _optional_numbers(field_definition.type_):
            field = (schema.properties or {})[name]
            if isinstance(field, Schema):
                field.minimum, field.maximum = number.ge, number.le
        return schema


def _optional_numbers(struct: type[Any]) -> list[tuple[str, msgspec.inspect.IntType]]:
    info = msgspec.inspect.type_info(struct)
    assert isinstance(info, msgspec.inspect.StructType), struct
    return [
        (field.encode_name, option)
        for field in info.fields
        if isinstance(field.type, msgspec.inspect.UnionType)
        for option in field.type.types
        if isinstance(option, msgspec.inspect.IntType)
    ]


@dataclass
class RefusingOperation(Operation):
    refusals: list[str] | None = field(default=None, metadata={"alias": X_REFUSALS})


class RefusalsInOrder(ReceiveRoutePlugin):
    """Litestar knows answers by status, and so not which of two refusals comes first."""

    def receive_route(self, route: BaseRoute) -> None:
        for handler in route.route_handlers if isinstance(route, HTTPRoute) else ():
            if isinstance(handler.responses, Refusals):
                handler.operation_class = partial(  # type: ignore[assignment]
                    RefusingOperation, refusals=handler.responses.order
                )
