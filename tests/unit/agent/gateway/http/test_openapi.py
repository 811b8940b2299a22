"""The description: valid, complete, and that of the forms and problems there are."""

from collections.abc import Iterator
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from agent.gateway.http.bodies import FORMS, ITEM_BYTES
from agent.gateway.http.openapi import openapi
from agent.gateway.http.problems import KINDS
from agent.serve.decode import DTYPES
from tests.unit.agent.gateway.http.documented import faults
from tests.unit.agent.gateway.http.http_kit import Served


def operations() -> Iterator[tuple[str, Any]]:
    for path, found in openapi()["paths"].items():
        yield from ((f"{method} {path}", operation) for method, operation in found.items())


def test_it_is_valid() -> None:
    assert list(OpenAPIV31SpecValidator(openapi()).iter_errors()) == []


def test_the_validator_finds_a_fault() -> None:
    broken = {**openapi(), "paths": {"/": {"get": {"responses": {"200": {}}}}}}
    assert list(OpenAPIV31SpecValidator(broken).iter_errors()) != []


def test_it_is_served_as_it_is(served: Served) -> None:
    assert served.ask("GET", "/openapi.json").document == openapi()


def test_every_operation_that_is_described_is_there(served: Served) -> None:
    for name, operation in operations():
        method, path = name.split()
        got = served.ask(method.upper(), path.replace("{name}", "main"))
        assert got.status not in (404, 405), name
        assert operation["operationId"]


def test_every_problem_and_form_of_a_query_is_described() -> None:
    predict = openapi()["paths"]["/v1/workloads/{name}/predict"]["post"]
    said = " ".join(response["description"] for response in predict["responses"].values())
    assert [reason for reason in KINDS if f"`{reason}`" not in said] == []
    assert set(predict["requestBody"]["content"]) == set(FORMS)
    assert {each["name"] for each in predict["parameters"]} - {"name"} == {
        name for form in FORMS.values() for name in form.parameters
    }


def test_the_gateway_and_the_worker_know_the_same_types() -> None:
    assert ITEM_BYTES.keys() == DTYPES


@pytest.mark.parametrize(
    ("document", "fits"),
    [
        ({"query": [1, 2.5]}, True),
        ({"query": [[[1]], [[2]]]}, True),
        ({"queries": [[1], [2]]}, True),
        ({"query": [1], "queries": [2]}, False),
        ({"query": "good"}, True),
        ({"queries": ["good", ""]}, True),
        ({"query": ["1"]}, False),
        ({"query": 1}, False),
        ([1], False),
    ],
)
def test_the_schema_of_a_query_takes_what_the_gateway_takes(served: Served, document: Any, fits: bool) -> None:
    assert (faults({"$ref": "#/components/schemas/Queries"}, document) == []) == fits
    if fits:
        assert served.predict(document).status == 200
