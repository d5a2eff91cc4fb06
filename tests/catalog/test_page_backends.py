import re
from collections.abc import Callable

import pytest
from django.conf import LazySettings
from django.core.exceptions import ValidationError
from django.test import Client

from accounts.models import AuditEvent
from catalog import running
from catalog.models import Backend, Deployment, HostedModel, ModelAlias
from catalog.services import EMBEDDED_DESCRIPTION
from common import redis
from tests.catalog.servers import Server, openai, vllm
from tests.catalog.test_routing import break_credential

Serve = Callable[..., Server]
SECRET = "sk-gpu-1-very-secret-7Kq2"


def connect(client: Client, server: Server, act: str = "save", **fields: str) -> tuple[int, str]:
    data = {"name": "gpu-9", "base_url": server.url, "credential": "", "kind": "", act: "1", **fields}
    response = client.post("/backends/connect/", data)
    return response.status_code, response.content.decode()


def test_it_works(sam_client: Client, serve: Serve) -> None:
    server = serve(vllm("Qwen/Qwen3-8B", "b"), key="sk-1")
    status, _text = connect(sam_client, server, credential="sk-1")
    assert status == 302
    text = sam_client.get("/backends/gpu-9/").content.decode()
    for words in ("gpu-9 is connected. It serves 2 models.", "vLLM", "Qwen/Qwen3-8B", "Working", server.base_url):
        assert words in text
    assert "gpu-9" in sam_client.get("/backends/").content.decode()


PAGES = [
    "/backends/",
    "/backends/connect/",
    "/backends/gpu-1/",
    "/backends/gpu-1/deployments/Qwen/Qwen3-8B/",
    "/backends/models/Qwen/Qwen3-8B/",
]
ACTS = ["check", "gpu-1/discover", "gpu-1/enabled", "gpu-1/model", "gpu-1/remove"]


@pytest.mark.parametrize("page", PAGES)
def test_pages_are_for_staff(
    client: Client, ada_client: Client, sam_client: Client, hosted_model: HostedModel, page: str
) -> None:
    assert client.get(page).headers["Location"].startswith("/accounts/login/")
    assert ada_client.get(page).status_code == 404
    assert ada_client.post(page, {"save": "1"}).status_code == 404
    assert sam_client.get(page).status_code == 200


@pytest.mark.parametrize("act", ACTS)
def test_acts_are_for_staff(client: Client, ada_client: Client, hosted_model: HostedModel, act: str) -> None:
    assert client.post(f"/backends/{act}/").headers["Location"].startswith("/accounts/login/")
    assert ada_client.post(f"/backends/{act}/").status_code == 404
    assert ada_client.get(f"/backends/{act}/").status_code == 404
    assert Backend.objects.get().is_enabled


@pytest.mark.parametrize("act", ACTS)
def test_acts_are_posted(sam_client: Client, hosted_model: HostedModel, act: str) -> None:
    assert sam_client.get(f"/backends/{act}/").status_code == 405


def test_they_are_searched_and_sorted(sam_client: Client, hosted_model: HostedModel) -> None:
    for name in ("rack-2", "attic"):
        Backend.objects.create(name=name, base_url=f"http://{name}.internal:8000/v1")

    def shown(**query: str) -> list[str]:
        return [backend.name for backend in sam_client.get("/backends/", query).context["page"].items]

    assert shown() == ["attic", "gpu-1", "rack-2"]
    assert shown(sort="newest") == ["attic", "rack-2", "gpu-1"]
    assert shown(q="RACK") == shown(q="rack-2.internal") == ["rack-2"]
    assert shown(q="qwen3") == ["gpu-1"]
    nothing = sam_client.get("/backends/", {"q": "nothing like it"}).content.decode()
    assert "No backend found" in nothing
    assert "Check now" in nothing


def test_no_backend_yet_teaches(sam_client: Client) -> None:
    assert "No backend yet" in sam_client.get("/backends/").content.decode()


def test_testing_saves_nothing(sam_client: Client, serve: Serve) -> None:
    status, text = connect(sam_client, serve(vllm("Qwen/Qwen3-8B")), act="test")
    assert status == 200
    assert "with 1 model" in text
    assert "Qwen/Qwen3-8B" in text
    assert 'value="gpu-9"' in text
    assert not Backend.objects.exists()


def test_testing_answers_with_the_form_alone(sam_client: Client, serve: Serve) -> None:
    server = serve(openai("a"), key="sk-typed")
    data = {"name": "gpu-9", "base_url": server.url, "credential": "sk-typed", "kind": "", "test": "1"}
    response = sam_client.post("/backends/connect/", data, headers={"HX-Request": "true"})
    assert response.status_code == 200
    text = response.content.decode()
    assert text.lstrip().startswith("<form")
    assert "with 1 model" in text
    # The browser keeps this very field, with what was typed, when the form around it is replaced.
    assert re.search(r"<input[^>]*name=\"credential\"[^>]*hx-preserve", text)
    assert "sk-typed" not in text


@pytest.mark.parametrize("act", ["test", "save"])
def test_a_server_that_refuses_the_credential(sam_client: Client, serve: Serve, act: str) -> None:
    status, text = connect(sam_client, serve(openai("a"), key="sk-1"), act=act, credential="sk-typed-wrong")
    assert status == 400
    assert "does not accept the credential" in text
    assert "sk-typed-wrong" not in text
    assert 'value="gpu-9"' in text
    assert not Backend.objects.exists()


def test_connecting_without_leaving_the_page(sam_client: Client, serve: Serve) -> None:
    data = {"name": "gpu-9", "base_url": serve(openai("a")).url, "credential": "", "kind": "", "save": ""}
    response = sam_client.post("/backends/connect/", data, headers={"HX-Request": "true"})
    assert response.headers["HX-Redirect"] == "/backends/gpu-9/"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"name": ""}, "Fill this in."),
        ({"name": "gpu 9"}, "only letters, digits"),
        ({"name": "embedded"}, "kept for the portal itself"),
        ({"name": "gpu-1"}, "connected already"),
        ({"base_url": "gpu:8000"}, "must begin with http"),
        ({"base_url": "http://[::1"}, "This is not an address."),
        ({"base_url": "http://me:secret@gpu/v1"}, "Leave the user name and password out"),
        ({"base_url": "http://127.0.0.1:9"}, "Nothing listens at this address."),
        ({"kind": "mystery"}, "Select a valid choice."),
        ({"credential": "sk-1\r\nHost: other"}, "one line of printable characters"),
    ],
)
def test_what_is_refused_is_said_and_kept(
    sam_client: Client, serve: Serve, backend: Backend, fields: dict[str, str], words: str
) -> None:
    status, text = connect(sam_client, serve(openai("a")), **fields)
    assert status == 400
    assert words in text.replace("&#x27;", "'")
    assert Backend.objects.get() == backend


def test_the_credential_is_on_no_page(sam_client: Client, hosted_model: HostedModel) -> None:
    for page in [*PAGES, "/models/", "/models/Qwen/Qwen3-8B/", "/admin/catalog/backend/"]:
        assert SECRET not in sam_client.get(page).content.decode()
    assert "…7Kq2" in sam_client.get("/backends/gpu-1/").content.decode()


def test_a_short_credential_shows_nothing_of_itself(sam_client: Client, hosted_model: HostedModel) -> None:
    Backend.objects.update(credential="hunter2")
    assert "ter2" not in sam_client.get("/backends/gpu-1/").content.decode()


def test_a_credential_that_no_longer_decrypts(sam_client: Client, hosted_model: HostedModel) -> None:
    break_credential("gpu-1")
    for page in PAGES:
        assert sam_client.get(page).status_code == 200
    assert "enter it again" in sam_client.get("/backends/gpu-1/").content.decode()
    text = sam_client.post("/backends/gpu-1/discover/", follow=True).content.decode()
    assert "can no longer be decrypted" in text


def edit(client: Client, **fields: str) -> tuple[int, str]:
    response = client.post("/backends/gpu-1/", {"credential": "", "kind": "", "save": "1", **fields})
    return response.status_code, response.content.decode()


def test_an_edit_keeps_the_credential_for_the_same_server(
    sam_client: Client, serve: Serve, hosted_model: HostedModel
) -> None:
    server = serve(vllm("Qwen/Qwen3-8B"), key=SECRET)
    Backend.objects.update(base_url=server.base_url)
    assert edit(sam_client, base_url=server.url)[0] == 302
    assert Backend.objects.get().credential == SECRET


def test_an_edit_never_sends_the_credential_elsewhere(
    sam_client: Client, serve: Serve, hosted_model: HostedModel
) -> None:
    server = serve(vllm("Qwen/Qwen3-8B"))
    for act in ("save", "test"):
        status, text = edit(sam_client, base_url=server.url, **{act: "1"})
        assert status == 400
        assert "enter the credential again" in text
    assert server.asked == []
    assert edit(sam_client, base_url=server.url, forget_credential="on")[0] == 302
    assert {asked.credential for asked in server.asked} == {""}
    assert Backend.objects.get().credential == ""


def test_a_new_credential(sam_client: Client, serve: Serve, hosted_model: HostedModel) -> None:
    server = serve(vllm("Qwen/Qwen3-8B"), key="sk-new")
    assert edit(sam_client, base_url=server.url, credential="sk-new")[0] == 302
    assert Backend.objects.get().credential == "sk-new"


def test_turning_off_and_on(sam_client: Client, hosted_model: HostedModel) -> None:
    sam_client.post("/backends/gpu-1/enabled/", {"enabled": "no"})
    assert not HostedModel.objects.offered().exists()
    assert "This backend is out of service" in sam_client.get("/backends/gpu-1/").content.decode()
    assert "Out of service" in sam_client.get("/backends/").content.decode()
    sam_client.post("/backends/gpu-1/enabled/", {"enabled": "yes"})
    assert HostedModel.objects.offered().exists()


def test_a_backend_that_drains_says_how_many_calls_still_run(sam_client: Client, hosted_model: HostedModel) -> None:
    redis.durable().hset(running.KEY, "process_1", running.said([running.Busy(1, "gpu-1", 2, 0, 0)]))
    try:
        assert "2 calls run there now." in sam_client.get("/backends/gpu-1/").content.decode()
        sam_client.post("/backends/gpu-1/enabled/", {"enabled": "no"})
        text = sam_client.get("/backends/gpu-1/").content.decode()
        for words in ("This backend is draining", "2 still run there", "Back in service"):
            assert words in text
        assert "Draining" in sam_client.get("/backends/").content.decode()
    finally:
        redis.durable().hdel(running.KEY, "process_1")


def test_without_redis_it_is_not_known_how_many_calls_run(
    sam_client: Client, hosted_model: HostedModel, settings: LazySettings
) -> None:
    Backend.objects.update(is_enabled=False)
    shared = settings.REDIS_URL
    settings.REDIS_URL = "redis://127.0.0.1:9/0"
    redis.durable.cache_clear()
    try:
        assert "is not known at the moment" in sam_client.get("/backends/gpu-1/").content.decode()
    finally:
        settings.REDIS_URL = shared
        redis.durable.cache_clear()


def test_turning_one_model_off(sam_client: Client, hosted_model: HostedModel) -> None:
    sam_client.post("/backends/gpu-1/model/", {"backend_name": "Qwen/Qwen3-8B", "enabled": "no"})
    assert not Deployment.objects.get().is_enabled
    assert sam_client.post("/backends/gpu-1/model/", {"backend_name": "other"}).status_code == 404


def test_a_model_whose_name_holds_a_nul(sam_client: Client, hosted_model: HostedModel) -> None:
    assert sam_client.post("/backends/gpu-1/model/", {"backend_name": "\0", "enabled": "no"}).status_code == 404


def test_looking_for_models_again(sam_client: Client, serve: Serve, hosted_model: HostedModel) -> None:
    server = serve(vllm("new"), key=SECRET)
    Backend.objects.update(base_url=server.base_url)
    text = sam_client.post("/backends/gpu-1/discover/", follow=True).content.decode()
    assert "No longer listed there, so no longer served from there: Qwen/Qwen3-8B." in text
    assert [model.public_name for model in HostedModel.objects.offered()] == ["new"]


def test_looking_for_models_in_vain_says_so(sam_client: Client, hosted_model: HostedModel) -> None:
    text = sam_client.post("/backends/gpu-1/discover/", follow=True).content.decode()
    assert "Nothing was changed. Nothing listens at this address." in text


def test_checking_now(sam_client: Client, hosted_model: HostedModel) -> None:
    text = sam_client.post("/backends/check/", follow=True).content.decode()
    assert "Not working" in text
    assert "Nothing listens at this address." in text


def test_removing(sam_client: Client, hosted_model: HostedModel) -> None:
    sam_client.post("/backends/gpu-1/remove/")
    assert not Backend.objects.exists()
    assert not HostedModel.objects.exists()


def test_the_demonstration_backend_is_not_edited(sam_client: Client, hosted_model: HostedModel) -> None:
    Backend.objects.update(is_embedded=True)
    assert 'name="credential"' not in sam_client.get("/backends/gpu-1/").content.decode()
    edit(sam_client, base_url="http://127.0.0.1:10", forget_credential="on")
    assert Backend.objects.get().base_url == "http://127.0.0.1:9/v1"
    assert sam_client.post("/backends/gpu-1/remove/").status_code == 404


MODEL = {
    "description": "Ours.",
    "input_price": "0.05",
    "output_price": "0.2",
    "context_window": "8192",
    "uses": ["chat"],
}


def test_editing_a_model(sam_client: Client, hosted_model: HostedModel) -> None:
    page = "/backends/models/Qwen/Qwen3-8B/"
    assert 'value="0.05"' in sam_client.get(page).content.decode()
    assert sam_client.post(page, MODEL | {"input_price": "0.123456789", "is_visible": "on"}).status_code == 302
    model = HostedModel.objects.get()
    assert (model.description, model.input_price_nano, model.output_price_nano) == ("Ours.", 123_456_789, 200_000_000)
    assert (model.context_window, model.max_output_tokens, model.uses) == (8192, None, ["chat"])
    assert model.is_visible


def test_other_names_of_a_model(client: Client, sam_client: Client, hosted_model: HostedModel) -> None:
    page = "/backends/models/Qwen/Qwen3-8B/"
    for names in ("gpt-4o-mini\r\n\r\n b \r\nb", "b\nc"):
        assert sam_client.post(page, MODEL | {"is_visible": "on", "aliases": names}).status_code == 302
    assert hosted_model.other_names == ["b", "c"]
    event = AuditEvent.objects.filter(action__startswith="model.").latest("pk")
    assert (event.before["aliases"], event.after["aliases"]) == (["b", "gpt-4o-mini"], ["b", "c"])
    text = sam_client.get(page).content.decode()
    assert "b\nc</textarea>" in text
    assert "Also called" in client.get("/models/Qwen/Qwen3-8B/").content.decode()
    assert client.get("/api/models/").json()["data"][0]["aliases"] == ["b", "c"]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ("taken", "taken is another name of other already."),
        ("Qwen/Qwen3-8B", "A model called Qwen/Qwen3-8B is hosted here."),
        ("other", "A model called other is hosted here."),
        ("say 'hi'", "Leave out quotation marks"),
        ("a" * 201, "This is no name for a model"),
    ],
)
def test_a_name_that_cannot_be(sam_client: Client, hosted_model: HostedModel, names: str, words: str) -> None:
    other = HostedModel.objects.create(public_name="other")
    ModelAlias.objects.create(name="taken", hosted_model=other)
    response = sam_client.post("/backends/models/Qwen/Qwen3-8B/", MODEL | {"aliases": names})
    assert response.status_code == 400
    assert words in response.content.decode()
    assert hosted_model.other_names == []


def test_a_listed_model_whose_name_stands_for_another_is_passed_over(
    sam_client: Client, serve: Serve, hosted_model: HostedModel
) -> None:
    ModelAlias.objects.create(name="gpt-4o-mini", hosted_model=hosted_model)
    server = serve(vllm("gpt-4o-mini", "new"), key=SECRET)
    Backend.objects.update(base_url=server.base_url)
    text = sam_client.post("/backends/gpu-1/discover/", follow=True).content.decode()
    assert "Not hosted, for other models have these names as aliases: gpt-4o-mini." in text
    assert set(HostedModel.objects.values_list("public_name", flat=True)) == {"Qwen/Qwen3-8B", "new"}


@pytest.mark.parametrize(
    "change", [{"input_price": "-1"}, {"output_price": "free"}, {"input_price": ""}, {"context_window": "0"}]
)
def test_a_model_that_cannot_be(sam_client: Client, hosted_model: HostedModel, change: dict[str, str]) -> None:
    response = sam_client.post("/backends/models/Qwen/Qwen3-8B/", MODEL | change)
    assert response.status_code == 400
    assert "Ours." in response.content.decode()
    assert HostedModel.objects.get().input_price_nano == 50_000_000


def test_our_own_description_left_alone_stays_what_other_languages_translate(
    sam_client: Client, hosted_model: HostedModel
) -> None:
    HostedModel.objects.update(description=EMBEDDED_DESCRIPTION, is_demonstration=True)
    page = "/backends/models/Qwen/Qwen3-8B/"
    shown = sam_client.get(page, headers={"accept-language": "zh-hans"}).context["form"]["description"].value()
    assert "演示模型" in shown

    sam_client.post(page, MODEL | {"description": shown}, headers={"accept-language": "zh-hans"})

    hosted_model.refresh_from_db()
    assert hosted_model.description == EMBEDDED_DESCRIPTION


DEPLOYMENT = "/backends/gpu-1/deployments/Qwen/Qwen3-8B/"


def test_routing_of_a_deployment(sam_client: Client, hosted_model: HostedModel) -> None:
    assert DEPLOYMENT in sam_client.get("/backends/gpu-1/").content.decode()
    assert sam_client.post(DEPLOYMENT, {"priority": "2", "weight": "30", "most_in_flight": "8"}).status_code == 302
    deployment = Deployment.objects.get()
    assert (deployment.priority, deployment.weight, deployment.most_in_flight) == (2, 30, 8)
    assert 'value="30"' in sam_client.get(DEPLOYMENT).content.decode()


def test_time_outs_of_a_deployment(sam_client: Client, hosted_model: HostedModel) -> None:
    text = sam_client.get(DEPLOYMENT).content.decode()
    assert 'placeholder="600"' in text
    assert "<details" in text
    assert " open>" not in text.partition("<details")[2][:200]
    sam_client.post(DEPLOYMENT, {"priority": "0", "weight": "1", "idle_timeout_seconds": "2.5"})
    deployment = Deployment.objects.get()
    assert (deployment.idle_timeout_seconds, deployment.total_timeout_seconds) == (2.5, None)
    assert " open>" in sam_client.get(DEPLOYMENT).content.decode().partition("<details")[2][:200]


@pytest.mark.parametrize(
    "change",
    [
        {"priority": "-1"},
        {"priority": "101"},
        {"weight": "0"},
        {"weight": "101"},
        {"most_in_flight": "0"},
        {"idle_timeout_seconds": "0"},
        {"total_timeout_seconds": "3601"},
        {"connect_timeout_seconds": "nan"},
    ],
)
def test_routing_that_cannot_be(sam_client: Client, hosted_model: HostedModel, change: dict[str, str]) -> None:
    assert sam_client.post(DEPLOYMENT, {"priority": "0", "weight": "1"} | change).status_code == 400
    assert (Deployment.objects.get().priority, Deployment.objects.get().weight) == (0, 1)


def test_routing_of_no_deployment(sam_client: Client, hosted_model: HostedModel) -> None:
    assert sam_client.get("/backends/gpu-1/deployments/other/").status_code == 404


def test_a_fallback_of_a_model(sam_client: Client, hosted_model: HostedModel) -> None:
    page = "/backends/models/Qwen/Qwen3-8B/"
    other = HostedModel.objects.create(public_name="other")
    assert sam_client.post(page, MODEL | {"fallback": str(other.pk)}).status_code == 302
    hosted_model.refresh_from_db()
    assert hosted_model.fallback == other
    event = AuditEvent.objects.filter(action__startswith="model.").latest("pk")
    assert (event.before["fallback"], event.after["fallback"]) == (None, "other")
    assert "selected>other" in sam_client.get(page).content.decode()


def test_a_fallback_that_would_go_round_in_circles(sam_client: Client, hosted_model: HostedModel) -> None:
    other = HostedModel.objects.create(public_name="other", fallback=hosted_model)
    third = HostedModel.objects.create(public_name="third", fallback=other)
    for fallback in (third, other, hosted_model):
        response = sam_client.post("/backends/models/Qwen/Qwen3-8B/", MODEL | {"fallback": str(fallback.pk)})
        assert response.status_code == 400
    with pytest.raises(ValidationError, match="fall back on itself"):
        HostedModel(pk=hosted_model.pk, public_name="x", fallback=third).clean()


def test_the_end_of_a_model(sam_client: Client, hosted_model: HostedModel) -> None:
    page = "/backends/models/Qwen/Qwen3-8B/"
    successor = HostedModel.objects.create(public_name="the-next")
    going = {"deprecated_on": "2031-05-01", "retires_on": "2031-06-01", "successor": str(successor.pk)}
    assert sam_client.post(page, MODEL | going).status_code == 302
    hosted_model.refresh_from_db()
    assert (str(hosted_model.retires_on), hosted_model.successor) == ("2031-06-01", successor)
    event = AuditEvent.objects.filter(action__startswith="model.").latest("pk")
    assert (event.after["retires_on"], event.after["successor"]) == ("2031-06-01", "the-next")
    assert 'value="2031-06-01"' in sam_client.get(page).content.decode()


def test_an_end_that_cannot_be(sam_client: Client, hosted_model: HostedModel) -> None:
    page = "/backends/models/Qwen/Qwen3-8B/"
    going = {"deprecated_on": "2031-05-02", "retires_on": "2031-05-01"}
    response = sam_client.post(page, MODEL | going)
    assert response.status_code == 400
    assert "It cannot retire before it is deprecated." in response.content.decode()
    assert sam_client.post(page, MODEL | {"successor": str(hosted_model.pk)}).status_code == 400
