from django.test import Client
from pytest_django import DjangoAssertNumQueries

from accounts.models import Project, User
from apikeys.models import ApiKey
from apikeys.services import mint_key
from apikeys.verification import find_keys

URL = "/keys/"


def test_it_works(ada_client: Client, project: Project) -> None:
    response = ada_client.post(URL, {"name": "laptop"})
    [secret] = set(find_keys(response.content.decode()))
    key = ApiKey.objects.get()
    assert (key.project, key.name, key) == (project, "laptop", ApiKey.objects.behind(secret).get())
    assert key.hint.startswith(secret[:8])
    assert key.hint.endswith(secret[-4:])


def test_a_key_is_shown_once(ada_client: Client) -> None:
    response = ada_client.post(URL, {"name": "laptop"})
    assert "no-store" in response.headers["Cache-Control"]
    assert find_keys(ada_client.get(URL).content.decode()) == []


def test_a_reload_makes_no_second_key(ada_client: Client) -> None:
    form = {"name": "laptop", "submission": "one-opened-form"}
    ada_client.post(URL, form)
    again = ada_client.post(URL, form, follow=True)
    assert ApiKey.objects.count() == 1
    assert "has made its key already" in again.content.decode()
    assert find_keys(again.content.decode()) == []


def test_a_key_needs_a_name(ada_client: Client) -> None:
    response = ada_client.post(URL, {"name": " "})
    assert response.status_code == 400
    assert not ApiKey.objects.exists()


def test_a_stranger_sees_none_of_them(ada: User, project: Project, cyd_client: Client) -> None:
    mint_key(project=project, name="secret plan", by=ada)
    assert "secret plan" not in cyd_client.get(URL).content.decode()


def test_someone_signed_out_is_sent_to_sign_in(client: Client) -> None:
    assert client.get(URL).headers["Location"].startswith("/accounts/login/")


def test_a_hostile_name_is_only_text(ada: User, project: Project, ada_client: Client) -> None:
    mint_key(project=project, name="<script>alert(1)</script>", by=ada)
    assert "<script>alert" not in ada_client.get(URL).content.decode()


def test_its_queries_do_not_grow_with_the_keys(
    ada: User, project: Project, ada_client: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(12):
        mint_key(project=project, name=f"key {number}", by=ada)
    # session, user, project, role, keys with their makers, unread notifications, projects of the switcher
    with django_assert_num_queries(7):
        ada_client.get(URL)
