"""The docs are read by anybody, in both languages, by people and by programs."""

import pytest
from django.test import Client, RequestFactory
from django.utils import translation

from catalog.models import Backend, Deployment, HostedModel
from docs_site import views
from docs_site.tutorials import all_tutorials

SLUGS = [page.slug for page in all_tutorials("en")]
CHINESE = {"headers": {"accept-language": "zh-CN,zh;q=0.9"}}


@pytest.fixture
def model(db: None) -> HostedModel:
    """A model that answers chats and gives embeddings, beside a demonstration model that sorts before it."""
    backend = Backend.objects.create(name="gpu1", base_url="http://127.0.0.1:9/v1")
    names = {"aaa-demo": True, "qwen3-8b": False}
    for name, is_demonstration in names.items():
        hosted = HostedModel.objects.create(
            public_name=name, uses=["chat", "embeddings"], is_demonstration=is_demonstration
        )
        Deployment.objects.create(hosted_model=hosted, backend=backend, backend_name=name)
    return HostedModel.objects.get(public_name="qwen3-8b")


@pytest.mark.parametrize("slug", SLUGS)
def test_it_works(client: Client, model: HostedModel, slug: str) -> None:
    response = client.get(f"/docs/{slug}/")
    page = response.content.decode()
    assert response.status_code == 200
    assert "http://localhost" in page
    assert "/v1" in page
    assert model.public_name in page
    assert "{{" not in page
    assert "aaa-demo" not in page  # a real model goes before the demonstration model


def test_samples_name_a_model_that_answers(client: Client, model: HostedModel) -> None:
    Backend.objects.update(is_healthy=False)
    other = Backend.objects.create(name="gpu2", base_url="http://127.0.0.1:9/v1")
    Deployment.objects.create(
        hosted_model=HostedModel.objects.create(public_name="zzz-up", uses=["chat", "embeddings"]),
        backend=other,
        backend_name="z",
    )
    for path in ("/docs/quickstart/", "/docs/embeddings/", "/"):
        page = client.get(path).content.decode()
        assert "zzz-up" in page
        assert "&quot;qwen3-8b" not in page
    assert [one.public_name for one in HostedModel.objects.for_chat()] == ["zzz-up", "qwen3-8b", "aaa-demo"]


def test_the_index_lists_every_page(client: Client, db: None) -> None:
    page = client.get("/docs/").content.decode()
    assert all(f'href="/docs/{slug}/"' in page for slug in SLUGS)


def test_every_page_is_in_chinese_for_those_who_read_it(client: Client, model: HostedModel) -> None:
    for slug in SLUGS:
        page = client.get(f"/docs/{slug}/", **CHINESE).content.decode()  # type: ignore[arg-type]
        assert 'lang="zh-hans"' in page.split("<article", 1)[1].split(">", 1)[0]
        assert "not translated" not in page


def test_an_untranslated_page_is_shown_in_english_and_says_so(rf: RequestFactory, model: HostedModel) -> None:
    request = rf.get("/docs/quickstart/")
    with translation.override("de"):
        page = views.page(request, "quickstart").content.decode()
    assert "not translated" in page
    assert 'lang="en"' in page.split("<article", 1)[1].split(">", 1)[0]


def test_without_a_model_the_page_says_that_samples_name_none(client: Client, db: None) -> None:
    page = client.get("/docs/quickstart/").content.decode()
    assert "your-chat-model" in page
    assert "No model is connected yet" in page


def test_an_unknown_page_is_not_found(client: Client, db: None) -> None:
    assert client.get("/docs/no-such-page/").status_code == 404
    assert client.get("/docs/no-such-page.md").status_code == 404


def test_the_twin_is_plain_markdown(client: Client, model: HostedModel) -> None:
    response = client.get("/docs/quickstart.md")
    text = response.content.decode()
    assert response["Content-Type"] == "text/markdown; charset=utf-8"
    assert text.startswith("# Quickstart\n\n> ")
    assert model.public_name in text
    # Only the renderer and the tests read these.
    assert "{{" not in text
    assert "{#" not in text
    assert "expect=" not in text
    assert "](/" not in text


def test_a_program_that_prefers_markdown_gets_it(client: Client, model: HostedModel) -> None:
    markdown = client.get("/docs/quickstart/", headers={"accept": "text/markdown, text/html;q=0.5"})
    browser = client.get("/docs/quickstart/", headers={"accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert markdown["Content-Type"].startswith("text/markdown")
    assert browser["Content-Type"].startswith("text/html")
    assert "Accept" in browser["Vary"]


def test_llms_txt_names_every_page(client: Client, model: HostedModel) -> None:
    response = client.get("/llms.txt")
    text = response.content.decode()
    assert response["Content-Type"] == "text/plain; charset=utf-8"
    assert text.startswith("# ")
    assert all(f"/docs/{slug}.md)" in text for slug in SLUGS)


def test_a_page_makes_one_query_for_a_visitor(
    client: Client, model: HostedModel, django_assert_num_queries: object
) -> None:
    client.get("/docs/quickstart/")
    with django_assert_num_queries(1):  # type: ignore[operator]  # the models that samples name
        client.get("/docs/quickstart/")


def test_posting_is_refused(client: Client, db: None) -> None:
    assert client.post("/docs/").status_code == 405
