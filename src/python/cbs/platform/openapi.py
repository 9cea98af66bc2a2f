"""OpenAPI that tells the truth: a struct that forbids unknown fields says so in its schema."""

from typing import Any

import msgspec
from litestar._openapi.schema_generation.plugins.struct import StructSchemaPlugin
from litestar._openapi.schema_generation.schema import SchemaCreator
from litestar.openapi.spec import Schema
from litestar.typing import FieldDefinition


class ClosedStructs(StructSchemaPlugin):
    """Litestar 2.25 leaves out `additionalProperties`, and a least value of an optional field that
    is zero, whatever the struct says."""

    def to_openapi_schema(
        self, field_definition: FieldDefinition, schema_creator: SchemaCreator
    ) -> Schema:
        schema = super().to_openapi_schema(field_definition, schema_creator)
        if field_definition.type_.__struct_config__.forbid_unknown_fields:
            schema.additional_properties = False
        for name in _at_least_zero(field_definition.type_):
            field = (schema.properties or {})[name]
            if isinstance(field, Schema):
                field.minimum = 0
        return schema


def _at_least_zero(struct: type[Any]) -> list[str]:
    info = msgspec.inspect.type_info(struct)
    assert isinstance(info, msgspec.inspect.StructType), struct
    return [
        field.encode_name
        for field in info.fields
        if isinstance(field.type, msgspec.inspect.UnionType)
        and any(getattr(option, "ge", None) == 0 for option in field.type.types)
    ]
