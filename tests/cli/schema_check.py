#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# schema_check.py SCHEMA FILE - is the file what the schema says? As much of JSON Schema as ours use; a
# word that is not known here is an error, too. And of explain's: do the layers add up to the fault?
import json
import sys

TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int}
KNOWN = {"$schema", "title", "description", "type", "required", "properties", "items", "enum",
         "minimum", "additionalProperties"}


def check(value, schema, where):
    assert set(schema) <= KNOWN, f"{where}: the schema has {set(schema) - KNOWN}"
    if "type" in schema:
        assert isinstance(value, TYPES[schema["type"]]), f"{where}: no {schema['type']}: {value!r}"
        assert schema["type"] != "integer" or not isinstance(value, bool), f"{where}: {value!r}"
    if "enum" in schema:
        assert value in schema["enum"], f"{where}: {value!r}"
    if "minimum" in schema:
        assert value >= schema["minimum"], f"{where}: {value} is too small"
    for key in schema.get("required", []):
        assert key in value, f"{where}: no {key}"
    if isinstance(value, dict):
        for key, member in value.items():
            inner = schema.get("properties", {}).get(key, schema.get("additionalProperties", {}))
            assert inner is not False, f"{where}: has {key}"
            check(member, inner, f"{where}.{key}")
    if isinstance(value, list):
        for i, item in enumerate(value):
            check(item, schema.get("items", {}), f"{where}[{i}]")


def check_times(explained):
    for touch in explained["touches"]:
        for fault in touch["faults"]:
            total = sum(fault["layers"].values())
            assert total == fault["ns"], f"fault {fault['id']}: {total} ns in layers, {fault['ns']}"
            times = [event["ns"] for event in fault["events"]]
            assert times == sorted(times) and times[0] == 0, f"fault {fault['id']}: {times}"


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        schema = json.load(file)
    with open(sys.argv[2], encoding="utf-8") as file:
        value = json.load(file)
    check(value, schema, "")
    check_times(value)


try:
    main()
except AssertionError as error:
    print(error, file=sys.stderr)
    sys.exit(1)
