"""The page: what it offers, what it refuses, and that a run is its owner's alone."""

from collections.abc import Callable
from html import unescape

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from accounts.models import Project, User
from accounts.roles import Role
from catalog.models import Backend, HostedModel
from playground import services
from playground.models import Run, RunStatus
from tests.playground.conftest import hosted

MakeRun = Callable[..., Run]
INDEX = "/playground/"


def form(**values: object) -> dict[str, object]:
    return {"model": "qwen3-32b", "prompt": "Say hello", **values}


def test_it_works(ada_client: Client, ada: User, model: HostedModel) -> None:
    response = ada_client.post(
        INDEX, form(system="Be brief", temperature="0.5", max_tokens="20", stop="END\r\n\r\nSTOP")
    )

    run = Run.objects.get()
    assert response.headers["Location"] == f"/playground/runs/{run.public_id}/"
    assert run.user == ada
    assert run.status == RunStatus.PENDING
    assert run.title == "Say hello"
    assert run.request_body == {
        "model": "qwen3-32b",
        "messages": [{"role": "system", "content": "Be brief"}, {"role": "user", "content": "Say hello"}],
        "temperature": 0.5,
        "max_tokens": 20,
        "stop": ["END", "STOP"],
        "stream": True,
    }


def test_a_project_that_has_ended_is_refused(ada_client: Client, project: Project, model: HostedModel) -> None:
    Project.objects.filter(pk=project.pk).update(ends_at=timezone.now())
    page = ada_client.post(INDEX, form()).content.decode()
    assert "has ended. Choose another one." in page
    assert not Run.objects.exists()


def test_a_signed_out_visitor_is_asked_to_sign_in(client: Client, db: None) -> None:
    for address in (INDEX, "/playground/runs/", "/playground/runs/run_x/"):
        assert client.get(address)["Location"].startswith("/accounts/login/")


def test_the_address_fills_the_form(ada_client: Client, backend: Backend, model: HostedModel) -> None:
    hosted("other", backend=backend)

    page = ada_client.get(
        INDEX, {"model": "other", "prompt": 'Say "hi" & <b>', "system": "You are Ada"}
    ).content.decode()

    assert '<option value="other" selected>' in page
    assert 'Say "hi" & <b>' in unescape(page)
    assert "<b>" not in page
    assert "You are Ada" in page


def test_a_model_of_the_address_that_is_not_offered_is_said(ada_client: Client, model: HostedModel) -> None:
    assert "gone-model is not offered here" in ada_client.get(INDEX, {"model": "gone-model"}).content.decode()


def test_the_demonstration_model_is_called_one(ada_client: Client, backend: Backend) -> None:
    hosted("smol", backend=backend, is_demonstration=True)

    page = ada_client.get(INDEX).content.decode()

    assert "smol (demonstration model)" in page


def test_models_that_do_not_chat_are_not_offered(ada_client: Client, backend: Backend, model: HostedModel) -> None:
    hosted("embedder", backend=backend, uses=["embeddings"])

    assert "embedder" not in ada_client.get(INDEX).content.decode()
    assert "is not offered here" in ada_client.post(INDEX, form(model="embedder")).content.decode()


def test_without_a_model_the_page_says_what_is_missing(ada_client: Client) -> None:
    assert "No model to talk to yet" in ada_client.get(INDEX).content.decode()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"prompt": "  "}, "Write a prompt first."),
        ({"temperature": "3"}, "Enter 2 or less."),
        ({"max_tokens": "0"}, "Enter 1 or more."),
        ({"stop": "a\nb\nc\nd\ne"}, "At most 4 stop texts"),
        ({"role": ["user"] * 81, "content": ["x"] * 81}, "more than 80 messages"),
        ({"prompt": "x" * 400_001}, "longer than 400000 characters"),
    ],
)
def test_a_request_that_cannot_work_is_refused_and_nothing_is_lost(
    ada_client: Client, model: HostedModel, values: dict[str, object], said: str
) -> None:
    page = ada_client.post(INDEX, form(system="Keep this", **values)).content.decode()

    assert said in page
    assert "Keep this" in page
    assert not Run.objects.exists()


def test_code_is_shown_before_anything_is_written(ada_client: Client, model: HostedModel) -> None:
    page = ada_client.post("/playground/code/", form(prompt="")).content.decode()
    assert '"content": "Your prompt"' in unescape(page)
    asked = form(prompt="", role=["user", "assistant"], content=["Say hello", "Hello."])
    page = ada_client.post("/playground/code/", asked).content.decode()
    assert '"content": "Say hello"' in unescape(page)
    assert "Your prompt" not in page


def test_who_only_reads_in_a_project_runs_nothing_there(
    ada: User, ada_client: Client, project: Project, model: HostedModel
) -> None:
    project.organization.memberships.filter(user=ada).update(role=Role.VIEWER)

    page = ada_client.post(INDEX, form(prompt="Keep this")).content.decode()

    assert "You only read in the project" in page
    assert "Keep this" in page
    body = {"model": model.public_name, "messages": [{"role": "user", "content": "Hello"}]}
    assert ada_client.post("/api/runs/", body, "application/json").status_code == 403
    assert not Run.objects.exists()


def test_a_conversation_goes_on_with_edited_turns(ada_client: Client, model: HostedModel) -> None:
    ada_client.post(
        INDEX,
        form(role=["user", "assistant", "user"], content=["First\r\nline", "Edited", "  "], prompt="And then?"),
    )

    assert Run.objects.get().messages == [
        {"role": "user", "content": "First\nline"},
        {"role": "assistant", "content": "Edited"},
        {"role": "user", "content": "And then?"},
    ]


def test_running_again_asks_the_last_question_anew(ada_client: Client, model: HostedModel) -> None:
    ada_client.post(INDEX, form(role=["user", "assistant"], content=["Why?", "Because"], prompt="unsent", again="1"))

    assert Run.objects.get().messages == [{"role": "user", "content": "Why?"}]


def test_one_person_has_a_bounded_number_of_runs_under_way(
    ada_client: Client, ada: User, run_of: MakeRun, model: HostedModel
) -> None:
    for _ in range(services.MOST_UNFINISHED_RUNS):
        run_of(ada, status=RunStatus.PENDING)

    assert "too many runs under way" in ada_client.post(INDEX, form()).content.decode()
    assert Run.objects.count() == services.MOST_UNFINISHED_RUNS


def test_a_finished_run_shows_its_answer_and_what_it_took(
    ada_client: Client, ada: User, run_of: MakeRun, model: HostedModel
) -> None:
    run = run_of(ada, output="**Bold** <think>hm</think>", prompt_tokens=12, completion_tokens=34, request_id="req_abc")

    page = ada_client.get(f"/playground/runs/{run.public_id}/").content.decode()

    assert "<strong>Bold</strong> &lt;think&gt;hm&lt;/think&gt;" in page
    assert "12 in, 34 out" in page
    assert "≈" not in page
    assert "req_abc" in page


def test_tokens_that_were_estimated_are_marked(
    ada_client: Client, ada: User, run_of: MakeRun, model: HostedModel
) -> None:
    run = run_of(ada, prompt_tokens=12, completion_tokens=34, is_estimated=True)

    assert "≈" in ada_client.get(f"/playground/runs/{run.public_id}/").content.decode()


def test_a_running_run_can_be_followed_and_stopped(
    ada_client: Client, ada: User, run_of: MakeRun, model: HostedModel
) -> None:
    run = run_of(ada, status=RunStatus.RUNNING, output="")

    page = ada_client.get(f"/playground/runs/{run.public_id}/").content.decode()

    assert f'data-stream="/stream/runs/{run.public_id}?ticket=' in page
    assert f"/playground/runs/{run.public_id}/stop/" in page
    assert '<noscript><meta http-equiv="refresh"' in page


def test_an_error_says_what_to_do(ada_client: Client, ada: User, run_of: MakeRun, model: HostedModel) -> None:
    run = run_of(ada, status=RunStatus.FAILED, error_code="insufficient_quota", error_message="Budget of 5 reached.")

    page = ada_client.get(f"/playground/runs/{run.public_id}/").content.decode()

    assert "The budget is used up." in page
    assert "Budget of 5 reached." in page
    assert reverse("usage:overview") in page


def test_an_unknown_error_shows_the_apis_own_words(
    ada_client: Client, ada: User, run_of: MakeRun, model: HostedModel
) -> None:
    run = run_of(ada, status=RunStatus.FAILED, error_code="odd", error_message="Something rare.")

    assert "Something rare." in ada_client.get(f"/playground/runs/{run.public_id}/").content.decode()


def test_a_server_that_is_away_is_said_once_and_in_the_readers_language(
    ada_client: Client, ada: User, run_of: MakeRun, model: HostedModel
) -> None:
    said = "The model's server does not answer."
    run = run_of(ada, status=RunStatus.FAILED, error_code="upstream_error", error_message=said)

    page = unescape(ada_client.get(f"/playground/runs/{run.public_id}/").content.decode())
    assert page.count(said) == 1
    page = ada_client.get(f"/playground/runs/{run.public_id}/", headers={"accept-language": "zh-hans"}).content.decode()
    assert said not in unescape(page)


@pytest.mark.parametrize("part", ["", "ticket/", "result/"])
def test_others_cannot_tell_a_run_from_none(
    ben_client: Client, cyd_client: Client, sam_client: Client, ada: User, run_of: MakeRun, part: str
) -> None:
    run = run_of(ada)

    for client in (ben_client, cyd_client, sam_client):
        assert client.get(f"/playground/runs/{run.public_id}/{part}").status_code == 404


@pytest.mark.parametrize("act", ["stop", "delete"])
def test_others_can_neither_stop_nor_delete_a_run(ben_client: Client, ada: User, run_of: MakeRun, act: str) -> None:
    run = run_of(ada, status=RunStatus.PENDING)

    assert ben_client.post(f"/playground/runs/{run.public_id}/{act}/").status_code == 404
    assert Run.objects.get().status == RunStatus.PENDING


def test_deleting_a_run_removes_it(ada_client: Client, ada: User, run_of: MakeRun) -> None:
    run = run_of(ada)

    assert ada_client.get(f"/playground/runs/{run.public_id}/delete/").status_code == 405
    ada_client.post(f"/playground/runs/{run.public_id}/delete/")

    assert not Run.objects.exists()


def test_the_history_lists_ones_own_runs_page_by_page(
    ada_client: Client, ada: User, cyd: User, run_of: MakeRun
) -> None:
    run_of(cyd, title="Not yours")
    for number in range(60):
        run_of(ada, title=f"Prompt {number:02}")

    first = ada_client.get("/playground/runs/")
    second = ada_client.get("/playground/runs/", {"cursor": first.context["page"].older})

    assert [run.title for run in first.context["page"].items] == [f"Prompt {number:02}" for number in range(59, 9, -1)]
    assert [run.title for run in second.context["page"].items] == [f"Prompt {number:02}" for number in range(9, -1, -1)]


def test_the_history_is_searched_and_sorted(ada_client: Client, ada: User, cyd: User, run_of: MakeRun) -> None:
    run_of(cyd, title="Why is water wet")
    for title, model_name in (("Why is the sky blue", "small"), ("A haiku", "Qwen/Qwen3-8B"), ("Sums", "small")):
        Run.objects.filter(pk=run_of(ada, title=title).pk).update(model_name=model_name)

    def shown(**query: str) -> list[str]:
        return [run.title for run in ada_client.get("/playground/runs/", query).context["page"].items]

    assert shown() == ["Sums", "A haiku", "Why is the sky blue"]
    assert shown(sort="oldest") == ["Why is the sky blue", "A haiku", "Sums"]
    assert shown(q="WHY") == ["Why is the sky blue"]
    assert shown(q="qwen3") == ["A haiku"]
    assert "No run found" in ada_client.get("/playground/runs/", {"q": "nothing like it"}).content.decode()


def test_the_code_is_of_the_request_the_form_would_make(ada_client: Client, model: HostedModel) -> None:
    page = unescape(ada_client.post("/playground/code/", form(prompt='It\'s "quoted"', seed="7")).content.decode())

    assert '"content": "It\'s \\"quoted\\""' in page
    assert "seed=7" in page
    assert not Run.objects.exists()


def test_with_nothing_new_the_code_is_of_the_last_request(ada_client: Client, model: HostedModel) -> None:
    turns = {"role": ["user", "assistant"], "content": ["Why?", "Because"]}

    page = unescape(ada_client.post("/playground/code/", form(prompt="", **turns)).content.decode())

    assert '"content": "Why?"' in page
    assert '"content": "Because"' not in page


def test_the_page_asks_once_for_the_run_the_recent_ones_and_the_models(
    ada_client: Client, ada: User, run_of: MakeRun, model: HostedModel
) -> None:
    runs = [run_of(ada) for _ in range(15)]

    with CaptureQueriesContext(connection) as queries:
        ada_client.get(f"/playground/runs/{runs[0].public_id}/")

    asked = [query["sql"] for query in queries.captured_queries]
    assert len([sql for sql in asked if 'FROM "playground_run"' in sql]) == 2
    assert len([sql for sql in asked if 'FROM "catalog_hostedmodel"' in sql]) == 1
    assert len([sql for sql in asked if '"playground_run"."output"' in sql]) == 1
