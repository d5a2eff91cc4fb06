"""The REST API against its own schema: whatever a program sends, no fault of ours and no answer the schema hides."""

from typing import Any

import pytest
import requests
import schemathesis
from django.core.cache import cache
from django.db import transaction
from django.test import Client
from drf_spectacular.generators import SchemaGenerator
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from schemathesis.checks import (
    CheckFunction,
    content_type_conformance,
    not_a_server_error,
    response_schema_conformance,
    status_code_conformance,
)
from urllib3 import HTTPResponse

from tests.pages import Who
from tests.portal.conftest import World

pytestmark = pytest.mark.django_db

CHECKS: list[CheckFunction] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
# What the names in paths stand for in the world of the tests; the other half of the requests names nothing that is.
IDS = {
    "account_id": "service_account",
    "cohort_id": "cohort",
    "delivery_id": "delivery",
    "endpoint_id": "endpoint",
    "invitation_id": "invitation",
    "key_id": "key",
    "link_id": "link",
    "member_id": "member",
    "organization_id": "organization",
    "project_id": "project",
    "request_id": "call",
    "run_id": "run",
    "secret_id": "secret",
}

schema = schemathesis.openapi.from_dict(SchemaGenerator().get_schema(request=None, public=True))  # type: ignore[no-untyped-call]


def asked(case: Any, client: Client) -> requests.Response:
    """What the portal answers, without a server in between; whatever it changed is taken back."""
    prepared = requests.Request(**case.as_transport_kwargs(base_url="http://testserver")).prepare()
    # Ada's session instead of the one that the schema's cookie makes up.
    headers = {name: str(value) for name, value in prepared.headers.items() if name not in {"Content-Length", "Cookie"}}
    kind = headers.pop("Content-Type", "application/json")
    with transaction.atomic():
        answer = client.generic(
            prepared.method or "", prepared.path_url, prepared.body or b"", content_type=kind, headers=headers
        )
        transaction.set_rollback(True)
    cache.clear()  # how often one may ask is not the question here
    response = requests.Response()
    response.status_code, response._content, response.request = answer.status_code, answer.content, prepared
    response.url, response.encoding = prepared.url or "", "utf-8"
    response.headers.update(answer.headers)
    response.raw = HTTPResponse(answer.content, headers=dict(answer.headers), status=answer.status_code)
    return response


@schema.parametrize()
@hypothesis_settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much],
)
def test_it_keeps_its_word(case: Any, world: World) -> None:
    ada = world.visitors[Who.MEMBER]
    case.validate_response(asked(case, ada), checks=CHECKS)
    known = {name: world.names[IDS[name]] for name in case.path_parameters or {} if name.endswith("_id")}
    if known:
        case.path_parameters = {**case.path_parameters, **known}
        case.validate_response(asked(case, ada), checks=CHECKS)
