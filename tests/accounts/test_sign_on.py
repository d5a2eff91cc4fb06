"""Signing in with OpenID Connect, at a real provider over real HTTP."""

from collections.abc import Iterator

import pytest
from allauth.account.models import EmailAddress
from allauth.socialaccount.models import SocialAccount
from django.conf import LazySettings
from django.http import HttpResponse
from django.test import Client

from accounts.models import Organization, User
from tests.conftest import person
from tests.fakes.identity_provider import IdentityProvider, identity_provider, portal_settings

LOGIN = "/accounts/oidc/oidc/login/"

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IdentityProvider]:
    with identity_provider(tmp_path_factory.mktemp("provider")) as running:
        yield running


@pytest.fixture(autouse=True)
def configured(provider: IdentityProvider, settings: LazySettings) -> None:
    settings.SOCIALACCOUNT_PROVIDERS = portal_settings(provider.url)
    settings.OIDC_NAME = "University"
    settings.ACCOUNT_EMAIL_VERIFICATION = "mandatory"
    settings.ACCOUNT_EMAIL_VERIFICATION_BY_CODE_ENABLED = True


def to_provider(provider: IdentityProvider, client: Client, process: str = "login") -> str:
    """The address that the button leads to."""
    url = str(client.post(f"{LOGIN}?process={process}").context["url"])
    assert url.startswith(f"{provider.url}/identity/o/authorize")
    return url


def sign_on(provider: IdentityProvider, client: Client, address: str, *, process: str = "login") -> HttpResponse:
    """From the button to what the portal says in the end."""
    back = provider.approve(address, to_provider(provider, client, process))
    assert back.startswith("http://testserver/accounts/oidc/oidc/login/callback/")
    return client.get(back.removeprefix("http://testserver"))  # type: ignore[return-value]


def test_it_works(provider: IdentityProvider, client: Client) -> None:
    assert sign_on(provider, client, "grace@uni.example").headers["Location"] == "/quickstart/"
    user = User.objects.get(email="grace@uni.example")
    assert Organization.objects.for_member(user).get().is_personal
    assert EmailAddress.objects.get(user=user).verified
    assert client.get("/keys/").status_code == 200
    assert not user.has_usable_password()
    # The second time it is the same account, known by the provider's id.
    again = Client()
    sign_on(provider, again, "grace@uni.example")
    assert again.session["_auth_user_id"] == str(user.pk)
    assert User.objects.count() == 1


def test_only_the_domains_of_the_operator(provider: IdentityProvider, client: Client, settings: LazySettings) -> None:
    settings.OIDC_DOMAINS = ["uni.example"]
    refused = sign_on(provider, client, "eve@elsewhere.example")
    assert refused.status_code == 403
    assert "This portal is for addresses at uni.example; yours is at elsewhere.example" in refused.content.decode()
    assert not User.objects.exists()
    assert sign_on(provider, client, "grace@uni.example").status_code == 302


def test_who_is_no_longer_of_the_domain_gets_no_further(
    provider: IdentityProvider, client: Client, settings: LazySettings
) -> None:
    sign_on(provider, client, "eve@elsewhere.example")
    settings.OIDC_DOMAINS = ["uni.example"]
    assert sign_on(provider, Client(), "eve@elsewhere.example").status_code == 403


def test_an_address_that_the_provider_has_not_verified_is_refused(
    provider: IdentityProvider, client: Client, settings: LazySettings
) -> None:
    refused = sign_on(provider, client, "mallory@uni.example")
    assert refused.status_code == 403
    assert "Confirm mallory@uni.example at University first" in refused.content.decode()
    assert not User.objects.exists()
    settings.OIDC_EMAIL_IS_VERIFIED = True
    assert sign_on(provider, client, "mallory@uni.example").status_code == 302


@pytest.mark.parametrize("verified", [True, False])
def test_an_account_of_the_same_address_is_not_taken_over(
    provider: IdentityProvider, client: Client, verified: bool
) -> None:
    rosa = person("Rosa")
    rosa.email = "rosa@uni.example"
    rosa.save()
    EmailAddress.objects.create(user=rosa, email=rosa.email, verified=verified, primary=True)
    refused = sign_on(provider, client, "rosa@uni.example")
    assert refused.status_code == 403
    assert "There is an account with your address already" in refused.content.decode()
    assert "_auth_user_id" not in client.session
    assert not SocialAccount.objects.exists()


def test_it_is_connected_by_who_is_signed_in(provider: IdentityProvider, ada: User, ada_client: Client) -> None:
    EmailAddress.objects.create(user=ada, email=ada.email, verified=True, primary=True)
    done = sign_on(provider, ada_client, "rosa@uni.example", process="connect")
    assert done.headers["Location"] == "/accounts/3rdparty/"
    assert SocialAccount.objects.get().user == ada
    client = Client()
    sign_on(provider, client, "rosa@uni.example")
    assert client.session["_auth_user_id"] == str(ada.pk)


def test_a_provider_that_is_down_gets_a_page(client: Client, settings: LazySettings) -> None:
    settings.SOCIALACCOUNT_PROVIDERS = portal_settings("http://127.0.0.1:9")
    answer = client.post(LOGIN)
    assert answer.status_code == 502
    assert "Try again in a few minutes" in answer.content.decode()


def test_a_wrong_address_of_the_provider_gets_a_page(
    provider: IdentityProvider, client: Client, settings: LazySettings
) -> None:
    settings.SOCIALACCOUNT_PROVIDERS = portal_settings(f"{provider.url}/nowhere")
    assert client.post(LOGIN).status_code == 502


def test_a_provider_that_goes_down_half_way_gets_a_page(
    provider: IdentityProvider, client: Client, settings: LazySettings
) -> None:
    back = provider.approve("grace@uni.example", to_provider(provider, client))
    settings.SOCIALACCOUNT_PROVIDERS = portal_settings("http://127.0.0.1:9")
    assert client.get(back.removeprefix("http://testserver")).status_code == 502


def test_an_answer_nobody_asked_for_signs_nobody_in(client: Client) -> None:
    answer = client.get("/accounts/oidc/oidc/login/callback/?code=x&state=y")
    assert "Signing in did not work" in answer.content.decode()
    assert "_auth_user_id" not in client.session
