"""Runs over the REST API."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import Project, User
from catalog.models import HostedModel
from playground import services
from playground.models import Run, RunStatus

MakeRun = Callable[..., Run]
HELLO = [{"role": "user", "content": "Say hello"}]


def start(client: Client, **values: Any) -> Any:
    return client.post(
        "/api/runs/", {"model": "qwen3-32b", "messages": HELLO, **values}, content_type="application/json"
    )


def test_it_works(ada_client: Client, model: HostedModel) -> None:
    answer = start(ada_client, parameters={"temperature": 0, "stop": ["END"]})

    assert answer.status_code == 201
    started = answer.json()
    assert started["status"] == "pending"
    assert started["stream"].startswith(f"http://testserver/stream/runs/{started['id']}?ticket=")
    assert ada_client.get(f"/api/runs/{started['id']}/").json()["messages"] == HELLO
    assert ada_client.get("/api/runs/").json()["data"][0]["id"] == started["id"]
    assert Run.objects.get().parameters == {"temperature": 0, "stop": ["END"]}


def test_a_project_may_be_named(ada_client: Client, cyd_client: Client, project: Project, model: HostedModel) -> None:
    second = Project.objects.create(organization=project.organization, name="Second")
    body = {"model": "qwen3-32b", "messages": HELLO}
    address = f"/api/runs/?project={second.public_id}"

    assert ada_client.post(address, body, content_type="application/json").status_code == 201
    assert Run.objects.get().project == second
    assert cyd_client.post(address, body, content_type="application/json").status_code == 404


def test_a_finished_run_has_its_output_and_no_stream(ada_client: Client, ada: User, run_of: MakeRun) -> None:
    answer = ada_client.get(f"/api/runs/{run_of(ada).public_id}/").json()

    assert (answer["output"], answer["stream"]) == ("Hello.", None)


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"model": "unknown"}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role"),
        ({"messages": [*HELLO, {"role": "assistant", "content": "Hi"}]}, "messages"),
        ({"messages": [{"role": "user", "content": "x" * 400_001}]}, "messages"),
        ({"parameters": {"temperature": 3}}, "parameters.temperature"),
        ({"parameters": {"stop": ["a"] * 5}}, "parameters.stop"),
    ],
)
def test_what_cannot_work_is_refused(
    ada_client: Client, model: HostedModel, values: dict[str, Any], field: str
) -> None:
    answer = start(ada_client, **values)

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"].startswith(field.split(".")[0])
    assert not Run.objects.exists()


@pytest.mark.parametrize("field", ["ends_at", "archived_at"])
def test_nothing_is_run_in_a_project_that_has_ended(
    ada_client: Client, project: Project, model: HostedModel, field: str
) -> None:
    Project.objects.filter(pk=project.pk).update(**{field: timezone.now()})
    address = f"/api/runs/?project={project.public_id}"
    answer = ada_client.post(address, {"model": "qwen3-32b", "messages": HELLO}, content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (403, "project_ended")
    assert not Run.objects.exists()


def test_too_many_at_once_are_refused(ada_client: Client, ada: User, run_of: MakeRun, model: HostedModel) -> None:
    for _ in range(services.MOST_UNFINISHED_RUNS):
        run_of(ada, status=RunStatus.PENDING)

    assert start(ada_client).status_code == 429


def test_a_run_is_stopped_and_deleted(ada_client: Client, ada: User, run_of: MakeRun) -> None:
    run = run_of(ada, status=RunStatus.PENDING)

    assert ada_client.post(f"/api/runs/{run.public_id}/stop/").status_code == 202
    run.refresh_from_db()
    assert run.status == RunStatus.STOPPED
    assert ada_client.delete(f"/api/runs/{run.public_id}/").status_code == 204
    assert not Run.objects.exists()


def test_runs_of_others_are_not_there(ben_client: Client, sam_client: Client, ada: User, run_of: MakeRun) -> None:
    run = run_of(ada, status=RunStatus.PENDING)

    for client in (ben_client, sam_client):
        assert client.get(f"/api/runs/{run.public_id}/").status_code == 404
        assert client.post(f"/api/runs/{run.public_id}/stop/").status_code == 404
        assert client.delete(f"/api/runs/{run.public_id}/").status_code == 404
        assert client.get("/api/runs/").json()["data"] == []
    assert Run.objects.get().status == RunStatus.PENDING


def test_a_visitor_is_refused(client: Client, db: None) -> None:
    assert client.get("/api/runs/").status_code == 401
    assert client.get("/api/runs/run_x/").status_code == 401
