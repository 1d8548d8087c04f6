"""What is said of a wrong value, whichever model it was meant for."""

import re

import pytest
from pydantic import BaseModel, ValidationError

from shared.domain.errors import ConfigurationError
from shared.domain.events import DocumentChanged, DocumentSubmitted
from shared.domain.faults import of_event, said
from shared.settings import load, names

FOREIGN = re.compile(
    r"pydantic|should|required|permitted|Value error|unable to|valid (string|integer|number)"
)
"""Words of the library that checks values."""
OWN_SECRET = re.compile(r"webhooks\.docs\.secret(_file)?\b|a secret or a secret_file")
"""Names of settings, which are no values."""
WRONG = (
    None,
    True,
    -1,
    1.5,
    float("nan"),
    10**400,
    "",
    "secret",
    "x" * 5000,
    b"\xff",
    [],
    ["secret"],
)
WRONG_OBJECTS = ({}, {"secret": 1}, {"secret": ["secret"]}, [{"secret": 1}], {"kind": "secret"})


def errors_of(model: type[BaseModel], value: object) -> list[dict]:
    try:
        model.model_validate(value)
    except ValidationError as error:
        return error.errors(include_url=False)
    return []


@pytest.mark.parametrize("model", [DocumentSubmitted, DocumentChanged])
def test_what_is_said_of_an_event_are_words_of_ours_and_no_value(model):
    told = []
    for value in (*WRONG, *WRONG_OBJECTS):
        told.append(of_event(errors_of(model, value)))
        for field in model.model_fields.values():
            told.append(of_event(errors_of(model, {field.alias or "x": value})))
            told += map(said, errors_of(model, {field.alias or "x": value}))

    assert not [line for line in told if FOREIGN.search(line)]
    assert not [line for line in told if re.search(r": \w+_\w+$", line)]  # the name of a rule
    assert not [line for line in told if "secret" in line]
    assert len(set(told)) > 10


@pytest.mark.parametrize("name", list(names()))
def test_what_is_said_of_a_setting_are_words_of_ours_and_no_value(name):
    lines = []
    for value in (*WRONG[1:], *WRONG_OBJECTS):
        options = {"sources.docs.path": ".", name.replace("NAME", "docs"): value}
        try:
            load(config=None, environ={}, options=options)
        except ConfigurationError as error:
            lines += str(error).splitlines()

    assert lines
    lines = [OWN_SECRET.sub("", line) for line in lines]
    assert not [line for line in lines if FOREIGN.search(line)]
    named = ("is not a setting", "fields.secret: ")  # a name that somebody gave is told
    assert not [line for line in lines if "secret" in line and not any(n in line for n in named)]


def test_the_kind_of_what_was_given_is_told_and_never_the_value():
    def error(kind, value, **ctx):
        return {"type": kind, "input": value, "ctx": ctx, "msg": "Input should be", "loc": ()}

    assert said(error("string_type", ["secret"])) == "must be text, not a list"
    assert said(error("int_parsing", "secret")) == "must be a whole number, not text"
    assert said(error("bool_type", None)) == "must be true or false, not null"
    assert said(error("float_type", True)) == "must be a number, not true or false"
    assert said(error("model_type", 5)) == "must be an object, not a number"
    assert said(error("string_too_long", "x" * 9, max_length=5)).endswith("5 characters, not 9")
    assert said(error("something_new", "secret")) == "is not valid, not text"
