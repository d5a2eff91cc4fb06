"""The API reference: read off the schema, and whole."""

import pytest
from django.test import Client
from drf_spectacular.generators import SchemaGenerator

from docs_site.reference import METHODS, Operation, sections

pytestmark = pytest.mark.django_db


def operations() -> dict[str, Operation]:
    return {operation.id: operation for section in sections() for operation in section.operations}


def test_it_works(client: Client) -> None:
    index = client.get("/docs/api/").content.decode()
    assert "/api/organizations/{organization_id}/webhooks/" in index
    page = client.get("/docs/api/webhooks/").content.decode()
    assert 'id="webhooks_create"' in page
    assert "LYCEUM_MANAGEMENT_KEY" in page


def test_no_operation_of_the_schema_is_missing(client: Client) -> None:
    schema = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    expected = {
        methods[method]["operationId"]
        for methods in schema["paths"].values()
        for method in METHODS
        if method in methods
    }
    assert set(operations()) == expected
    for section in sections():
        page = client.get(f"/docs/api/{section.slug}/").content.decode()
        assert all(f'id="{operation.id}"' in page for operation in section.operations)


def test_every_operation_says_what_it_does() -> None:
    assert [operation.id for operation in operations().values() if not operation.title] == []


def test_fields_stand_inside_what_they_are_part_of() -> None:
    listing = operations()["webhooks_list"]
    [answer] = [answer for answer in listing.answers if answer.status == "200"]
    depth = {field.name: field.depth for field in answer.fields}
    assert (depth["data"], depth["url"]) == (0, 1)
    types = {field.name: field.type for field in answer.fields}
    assert types["event_types"] == "string[]"
    assert types["failing_since"] == "date-time | null"


def test_values_are_told_in_a_list_and_no_name_twice() -> None:
    fields = {field.name: field.html for field in operations()["usage_calls"].parameters}
    assert "<li><code>499</code> - " in fields["outcome"]
    assert "<code>rate_limit_exceeded</code>" in fields["code"]
    assert "chat/completions" not in fields["endpoint"]


def test_a_sample_carries_this_portal_and_what_is_required() -> None:
    sample = operations()["webhooks_create"].sample
    assert '"http://localhost:8000/api/organizations/' in sample
    assert '"url"' in sample


def test_an_unknown_thing_is_not_found(client: Client) -> None:
    assert client.get("/docs/api/nothing/").status_code == 404
