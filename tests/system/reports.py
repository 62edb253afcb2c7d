"""The exit report as the tests read it: validated against the schema, and its sums."""
import json
import os

import jsonschema

with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "report.schema.json"),
          encoding="utf-8") as schema_file:
    SCHEMA = json.load(schema_file)
VALIDATOR = jsonschema.validators.validator_for(SCHEMA)
VALIDATOR.check_schema(SCHEMA)


def valid(report):
    """The report itself, when the schema holds and what must agree inside it agrees."""
    assert report is not None, "there is no report file"
    faults = [f"{fault.json_path}: {fault.message[:300]}" for fault in VALIDATOR(SCHEMA).iter_errors(report)]
    assert not faults, "\n".join(faults)
    for target in report["targets"]:
        if None not in (target["handles"], target["closed_by_app"], target["leaked"]):
            assert target["closed_by_app"] + target["leaked"] <= target["handles"], without_connections(target)
        if target["leaked"] is not None and target["connections"]:
            assert target["leaked"] == sum(1 for each in target["connections"] if each["leak"]), \
                without_connections(target)
    return report


def without_connections(target):
    """For a message that can be read."""
    return {key: value for key, value in target.items() if key != "connections"}


def target_of(report, kind):
    found = [target for target in report["targets"] if target["kind"] == kind]
    assert len(found) == 1 or kind == "postgres", found
    return found[0]


def total(report, key):
    """The key's sum over all targets; None when one of them is not known."""
    values = [target[key] for target in report["targets"]]
    return None if None in values else sum(values)


def phases(report):
    return [row["phase"] for row in report["stop"]["phases"]]
