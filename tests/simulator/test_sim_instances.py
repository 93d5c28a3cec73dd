from random import Random
from typing import Any

import jsonschema
import pytest

from omni_grpc.simulator.instances import SchemaUnsupported, instance_of

NODE = {
    "type": "object",
    "properties": {
        "value": {"type": "integer"},
        "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
        "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
    },
    "required": ["value", "next", "children"],
    "additionalProperties": False,
}

SCHEMAS: dict[str, Any] = {
    "nothing": {},
    "anything": True,
    "string": {"type": "string"},
    "lengths": {"type": "string", "minLength": 30, "maxLength": 31},
    "short": {"type": "string", "maxLength": 2},
    "uuid": {"type": "string", "format": "uuid"},
    "moment": {"type": "string", "format": "date-time"},
    "integer": {"type": "integer"},
    "bounds": {"type": "integer", "minimum": -3, "maximum": -2},
    "open bounds": {"type": "integer", "exclusiveMinimum": 4, "exclusiveMaximum": 6},
    "large": {"type": "integer", "minimum": 10**15},
    "negative": {"type": "number", "maximum": -1.5},
    "narrow": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 0.001},
    "point": {"type": "number", "minimum": 7, "maximum": 7},
    "steps": {"type": "integer", "minimum": 8, "multipleOf": 7},
    "half steps": {"type": "number", "multipleOf": 0.5, "minimum": 0.6},
    "whole halves": {"type": "integer", "multipleOf": 2.5, "minimum": 1},
    "boolean": {"type": "boolean"},
    "null": {"type": "null"},
    "enum": {"enum": ["a", 3, None]},
    "const": {"const": {"a": 1}},
    "nullable": {"type": ["string", "null"]},
    "array": {"type": "array", "items": {"type": "integer"}, "minItems": 5, "maxItems": 6},
    "empty array": {"type": "array", "maxItems": 0},
    "tuple": {"type": "array", "prefixItems": [{"const": 1}, {"type": "string"}], "items": False},
    "unique": {"type": "array", "items": {"enum": [1, 2, 3]}, "minItems": 3, "uniqueItems": True},
    "map": {"type": "object", "additionalProperties": {"type": "number"}},
    "at least": {"type": "object", "minProperties": 3},
    "required only": {"required": ["a", "b"]},
    "any of": {"anyOf": [{"type": "string"}, {"type": "integer", "minimum": 5}]},
    "one of": {"oneOf": [{"type": "object", "properties": {"kind": {"const": "x"}}}]},
    "outer bound": {"minimum": 5, "anyOf": [{"type": "integer"}, {"type": "number"}]},
    "all of": {
        "allOf": [
            {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
            {"properties": {"b": {"type": "integer"}}, "required": ["b"]},
        ]
    },
    "recursive": {"$defs": {"node": NODE}, "$ref": "#/$defs/node"},
    "recursive root": {
        "type": "object",
        "properties": {"child": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}},
        "required": ["child"],
    },
    "escaped pointer": {"$defs": {"a/b~c": {"const": 9}}, "$ref": "#/$defs/a~1b~0c"},
    "reference with more": {
        "definitions": {"n": {"type": "integer"}},
        "$ref": "#/definitions/n",
        "minimum": 90,
    },
}


@pytest.mark.parametrize("name", SCHEMAS)
def test_an_instance_is_valid(name: str) -> None:
    schema = SCHEMAS[name]
    validator = jsonschema.Draft202012Validator(schema)
    for seed in range(40):
        validator.validate(instance_of(schema, Random(seed)))


def test_the_same_seed_gives_the_same_instance() -> None:
    schema = SCHEMAS["recursive"]
    made = [instance_of(schema, Random(seed)) for seed in (1, 1, 2)]
    assert made[0] == made[1] != made[2]


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "pattern": "^a+$"},
        {"type": "object", "properties": {"a": {"not": {}}}, "required": ["a"]},
        {"$ref": "https://example.com/schema"},
        {"$ref": "#/$defs/missing"},
        {"$ref": "#"},
        {"type": "spoon"},
        {"type": "integer", "minimum": 3, "maximum": 2},
        {"type": "array", "items": {"const": 1}, "minItems": 2, "uniqueItems": True},
        {"type": "string", "minLength": 10**9},
        False,
        7,
    ],
)
def test_a_schema_without_an_instance_is_refused(schema: Any) -> None:
    with pytest.raises(SchemaUnsupported):
        instance_of(schema, Random(1))


def test_a_schema_that_never_ends_is_refused_soon() -> None:
    branch = {"type": "object", "properties": {}, "required": ["l", "r"]}
    branch["properties"] = {"l": {"$ref": "#/$defs/b"}, "r": {"$ref": "#/$defs/b"}}
    schema: Any = {"$defs": {"b": {"anyOf": [branch, branch]}}, "$ref": "#/$defs/b"}
    with pytest.raises(SchemaUnsupported):
        instance_of(schema, Random(1))
