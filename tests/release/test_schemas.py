"""A referee that knows JSON Schema is asked: what is called compatible lets nothing surprise."""

from typing import Any

import jsonschema_rs  # pants: no-infer-dep
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cbs.tools.release.schema_diff.schemas import Comparison
from cbs.tools.release.schema_diff.shapes import Schemas, Unreadable

NAMES = st.sampled_from(["amount", "currency", "note"])
VALUES = st.sampled_from(["INR", "EUR", "", "aaaa", 0, 1, 2, 5, 2.5, True, False, None])
LEAVES = st.none() | st.booleans() | st.integers(-2, 7) | st.sampled_from(["INR", "EUR", "aaaa"])
REFS = st.sampled_from([{"$ref": "#/components/schemas/A"}, {"$ref": "#/components/schemas/B"}])


def bounded(*keywords):
    return st.dictionaries(st.sampled_from(keywords), st.integers(0, 4), max_size=2)


def typed(kind, keywords):
    return keywords.map(lambda some: {"type": kind, **some})


SIMPLE = st.one_of(
    st.just({}),
    st.booleans(),
    typed("integer", bounded("minimum", "maximum", "exclusiveMinimum", "multipleOf").filter(
        lambda some: some.get("multipleOf") != 0)),
    typed("number", bounded("minimum", "maximum", "exclusiveMaximum")),
    typed("string", bounded("minLength", "maxLength")),
    st.sampled_from([{"type": "null"}, {"type": "boolean"}, {"type": ["string", "null"]},
                     {"type": "string", "pattern": "^a"}, {"const": "INR"}]),
    st.lists(VALUES, min_size=1, max_size=3).map(lambda values: {"enum": values}),
    REFS,
)  # fmt: skip


def grown(inner):
    objects = st.fixed_dictionaries(
        {"type": st.just("object"), "properties": st.dictionaries(NAMES, inner, max_size=3)},
        optional={
            "required": st.lists(NAMES, unique=True, max_size=2),
            "additionalProperties": st.just(False) | inner,
        },
    )
    arrays = st.fixed_dictionaries(
        {"type": st.just("array"), "items": inner}, optional={"maxItems": st.integers(0, 3)}
    )
    some = st.lists(inner, min_size=1, max_size=2)
    return objects | arrays | some.map(lambda s: {"anyOf": s}) | some.map(lambda s: {"allOf": s})


SCHEMAS = st.recursive(SIMPLE, grown, max_leaves=5)
INSTANCES = st.recursive(
    LEAVES | st.just(2.5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)


def document(schema, a, b):
    return {"$ref": "#/components/schemas/Top",
            "components": {"schemas": {"Top": schema, "A": a, "B": b}}}  # fmt: skip


def changes(before, after, *, taken):
    comparison = Comparison(Schemas(before), Schemas(after), taken=taken)
    top = {"$ref": "#/components/schemas/Top"}
    comparison.compare("", top, dict(top))
    return comparison.found


PLAIN = SIMPLE.filter(lambda schema: not isinstance(schema, dict) or "$ref" not in schema)
# Two alike, so that pairs that differ in one place are many.
TWO = st.tuples(SCHEMAS, SCHEMAS, PLAIN, PLAIN, PLAIN, st.booleans()).map(
    lambda s: (document(s[0], s[2], s[3]), document(s[0] if s[5] else s[1], s[2], s[4]))
)


def valid(schema, instance):
    return jsonschema_rs.is_valid(schema, instance)


@settings(max_examples=300, deadline=None)
@given(TWO, st.lists(INSTANCES, min_size=1, max_size=10))
def test_what_is_compatible_for_readers_was_possible_before(two, instances):
    before, after = two
    if any(change.breaking for change in changes(before, after, taken=False)):
        return
    for instance in instances:
        assert not valid(after, instance) or valid(before, instance), instance


@settings(max_examples=300, deadline=None)
@given(TWO, st.lists(INSTANCES, min_size=1, max_size=10))
def test_what_is_compatible_for_senders_is_taken_as_before(two, instances):
    before, after = two
    found = changes(before, after, taken=True)
    # A field that is new to an open schema is the one exception; see the module.
    if any(change.breaking or change.what == "a new field" for change in found):
        return
    for instance in instances:
        assert not valid(before, instance) or valid(after, instance), instance


@settings(max_examples=200, deadline=None)
@given(TWO)
def test_a_schema_is_no_change_of_itself(two):
    assert changes(two[0], two[0], taken=True) == changes(two[0], two[0], taken=False) == []


NODE: dict[str, Any] = {
    "type": "object",
    "properties": {"value": {"type": "integer"}, "next": {"$ref": "#/components/schemas/Top"}},
}


@pytest.mark.parametrize(
    "of",
    [
        lambda b: {"type": "object", "additionalProperties": b},
        lambda b: {"type": "object", "properties": {"amount": b}},
        lambda b: {"type": "array", "items": b},
    ],
)
def test_the_same_words_may_mean_another_thing_in_another_document(of):
    same = of({"$ref": "#/components/schemas/B"})

    found = changes(document(same, {}, {"type": "null"}), document(same, {}, {}), taken=False)

    assert [change.breaking for change in found] == [True]


def test_a_schema_inside_itself_is_compared_once():
    after = {**NODE, "properties": {**NODE["properties"], "value": {"type": "string"}}}

    found = changes(document(NODE, {}, {}), document(after, {}, {}), taken=True)

    assert [(c.where, c.breaking) for c in found] == [(".value", True)]


def test_a_union_is_told_apart_by_its_tag():
    def case(tag, **more):
        fields = {"type": {"const": tag}, **more}
        return {"type": "object", "properties": fields, "required": ["type"]}

    before = {"oneOf": [case("cash", till={"type": "string"}), case("card")]}
    after = {"oneOf": [case("upi"), case("card"), case("cash", till={"type": "integer"})]}
    found = changes(document(before, {}, {}), document(after, {}, {}), taken=True)

    assert [(c.where, c.what, c.breaking) for c in found] == [
        (".till", "integer instead of string is taken", True),
        ("", 'type "upi" is taken, too', False),
    ]


@pytest.mark.parametrize("schema", [{"$ref": "#/nowhere"}, {"$ref": "other.json#/x"}, 5])
def test_what_cannot_be_read_is_no_answer(schema):
    with pytest.raises(Unreadable):
        changes(document({}, {}, {}), document(schema, {}, {}), taken=True)


@pytest.mark.parametrize(
    ("before", "after", "narrower", "wider"),
    [
        ({"type": ["string", "null"]}, {"type": "string", "nullable": True}, False, False),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, {"type": ["null", "string"]},
         False, False),
        ({"type": "integer", "exclusiveMinimum": 0}, {"type": "integer", "minimum": 1.0},
         False, False),
        ({"enum": ["a", "b"]}, {"type": "string", "enum": ["b", "a"]}, False, False),
        ({"const": 1}, {"enum": [1.0]}, False, False),
        ({"enum": [True]}, {"enum": [1]}, True, True),
        ({"type": "array", "prefixItems": [{"$ref": "#/components/schemas/A"}]},
         {"type": "array", "prefixItems": [{}]}, False, False),
        ({"type": "array", "prefixItems": [{}]},
         {"type": "array", "prefixItems": [{"type": "string"}]}, True, True),
        ({"type": "array", "uniqueItems": False}, {"type": "array", "uniqueItems": True},
         True, False),
        ({"type": "object", "additionalProperties": {"type": "string"}},
         {"type": "object", "additionalProperties": {"type": ["string", "null"]}}, False, True),
        ({"type": "object", "additionalProperties": {"type": "string"}},
         {"type": "object", "additionalProperties": {"type": "string"},
          "properties": {"a": {"type": "integer"}}}, True, True),
        ({"type": "object"}, {"type": "object", "additionalProperties": False}, True, False),
    ],
)  # fmt: skip
def test_what_is_written_otherwise_is_the_same_and_what_is_not_is_told(
    before, after, narrower, wider
):
    old, new = document(before, {}, {}), document(after, {}, {})
    breaks_senders = any(change.breaking for change in changes(old, new, taken=True))
    breaks_readers = any(change.breaking for change in changes(old, new, taken=False))

    assert (breaks_senders, breaks_readers) == (narrower, wider)
    assert bool(changes(old, new, taken=True)) == (narrower or wider)
