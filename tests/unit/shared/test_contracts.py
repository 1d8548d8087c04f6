"""The checked-in contracts are those of the code, and hold together."""

import json
import re
from pathlib import Path

import pytest

from services.cli.commands.contracts import files
from shared import contracts
from shared.bus.jetstream.publish import cloud_headers
from shared.contracts import field_descriptions
from shared.domain.events import EVENTS, Document, DocumentIndexed, DocumentSubmitted, Event
from shared.domain.topology import STREAMS

ROOT = Path(__file__).parents[3]
CHECKED_IN = ROOT / "docs/contracts"
GOLDEN = ROOT / "tests/golden/v1"


@pytest.fixture(scope="module")
def document():
    return contracts.asyncapi()


def every_ref(value):
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from every_ref(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from every_ref(inner)


def resolve(whole, ref):
    assert ref.startswith("#/"), ref
    for name in ref[2:].split("/"):
        whole = whole[name]
    return whole


def test_the_checked_in_contracts_are_those_of_the_code():
    assert contracts.differences(CHECKED_IN, files()) == []  # else: instep contracts


def test_writing_twice_changes_nothing(tmp_path):
    first = contracts.write(tmp_path, files())

    assert len(first) == len(EVENTS) + 3
    assert contracts.write(tmp_path, files()) == []
    assert contracts.differences(tmp_path, files()) == []


def test_a_missing_an_altered_and_a_foreign_file_are_each_named_and_then_put_right(tmp_path):
    contracts.write(tmp_path, files())
    (tmp_path / "asyncapi.json").unlink()
    (tmp_path / "v1/receipt.json").write_text("{}")
    (tmp_path / "v1/documents.forgotten.json").write_text("{}")

    assert contracts.differences(tmp_path, files()) == [
        "asyncapi.json is missing",
        "v1/receipt.json differs from the code",
        "v1/documents.forgotten.json belongs to no event",
    ]
    assert len(contracts.write(tmp_path, files())) == 3
    assert contracts.differences(tmp_path, files()) == []


@pytest.mark.parametrize("name", files())
def test_every_reference_inside_a_contract_leads_somewhere(name):
    whole = json.loads(files()[name])

    for ref in every_ref(whole):
        assert resolve(whole, ref)


@pytest.mark.parametrize("kind", EVENTS)
def test_the_address_of_an_event_is_a_subject_of_its_stream(kind):
    address = contracts.address(kind)
    stream = next(s for s in STREAMS if s.name == kind.stream)

    assert re.sub(r"\{\w+\}", "*", address) in stream.subjects


def test_every_parameter_of_an_address_is_described(document):
    for channel in document["channels"].values():
        named = re.findall(r"\{(\w+)\}", channel["address"] or "")

        assert sorted(channel.get("parameters", {})) == sorted(named)
        assert all(parameter["description"] for parameter in channel.get("parameters", {}).values())


def test_outside_systems_send_submissions_and_receive_outcomes_and_nothing_else(document):
    operations = document["operations"].values()
    sent = {o["channel"]["$ref"] for o in operations if o["action"] == "send"}
    received = {
        resolve(document, o["channel"]["$ref"])["title"]
        for o in operations
        if o["action"] == "receive"
    }

    assert sent == {"#/channels/documentsSubmitted"}
    assert received == {
        "documents.indexed",
        "documents.removed",
        "documents.refused",
        "documents.failed",
        "documents.validated",
        "batches.completed",
    }


def test_the_headers_of_a_contract_are_those_that_are_published(document):
    event = DocumentIndexed.model_validate_json((GOLDEN / "documents.indexed.json").read_bytes())
    published = cloud_headers(event, event.message_id, "instep")
    described = document["components"]["messages"]["DocumentIndexed"]["headers"]["properties"]

    assert set(published) | {"Nats-Msg-Id"} == set(described)
    for name, rule in described.items():
        assert rule.get("const", published.get(name)) == published.get(name)
    assert (
        published["ce-dataschema"]
        == contracts.json_schema(DocumentIndexed, contracts.schema_id(DocumentIndexed))["$id"]
    )


def test_a_schema_has_the_descriptions_and_the_names_of_the_wire():
    schema = json.loads(files()["v1/documents.changed.json"])

    assert "revision" in field_descriptions(Document)
    assert schema["$defs"]["Document"]["properties"]["revision"]["description"].startswith(
        "Sequence of its `documents.changed` message"
    )
    assert "schema" in schema["properties"]
    assert "schema_" not in schema["properties"]


def test_a_field_called_title_is_not_lost():
    schema = json.loads(files()["v1/documents.submitted.json"])

    assert set(schema["properties"]) == {
        field.alias or name for name, field in DocumentSubmitted.model_fields.items()
    }


def test_an_event_without_a_subject_says_so():
    with pytest.raises(NotImplementedError):
        contracts.address(Event)
