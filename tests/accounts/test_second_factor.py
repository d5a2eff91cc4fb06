"""Second factors: who must have one, and the way to it."""

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, format_hotp_value, hotp_value, yield_hotp_counters_from_time
from django.conf import LazySettings
from django.test import Client

from accounts.models import AuditEvent, Membership, Organization, User
from accounts.second_factor import NoSecondFactorError, require_second_factor
from apikeys.services import mint_key
from tests.conftest import PASSWORD, client_of

PAGE = "/second-factor/"


@pytest.fixture
def organization(ada: User, ben: User) -> Organization:
    """Ada's organization, which Ben belongs to."""
    return Organization.objects.for_member(ada)[0]


def give_factor(user: User) -> Authenticator:
    return Authenticator.objects.create(user=user, type=Authenticator.Type.WEBAUTHN, data={"name": "Laptop"})


def code_of(secret: str) -> str:
    return str(format_hotp_value(hotp_value(secret, next(iter(yield_hotp_counters_from_time())))))


def test_it_works(ada: User, organization: Organization, ben_client: Client) -> None:
    assert ben_client.get("/keys/").status_code == 200
    give_factor(ada)
    require_second_factor(organization=organization, required=True, by=ada)
    assert ben_client.get("/keys/?q=a").headers["Location"] == f"{PAGE}?next=%2Fkeys%2F%3Fq%3Da"
    page = ben_client.get(PAGE).content.decode()
    assert f"The owners of {organization.name} require it of all members" in page
    assert "/accounts/2fa/totp/activate/" in page
    event = AuditEvent.objects.get(action="organization.second_factor_changed")
    assert (event.before, event.after) == ({"required": False}, {"required": True})


@pytest.mark.django_db(transaction=True)
def test_an_app_sets_one_free_and_its_recovery_codes_are_shown_once(
    ada: User, ben: User, organization: Organization
) -> None:
    give_factor(ada)
    require_second_factor(organization=organization, required=True, by=ada)
    EmailAddress.objects.create(user=ben, email=ben.email, verified=True, primary=True)
    client = Client()
    client.post("/accounts/login/", {"login": ben.email, "password": PASSWORD})
    assert client.get("/keys/").status_code == 302
    # Signed in a moment ago with the password, but a change like this asks for it again.
    activate = "/accounts/2fa/totp/activate/"
    again = client.get(activate, follow=True)
    client.post(again.redirect_chain[-1][0], {"password": PASSWORD})
    form = client.get(activate).context["form"]
    done = client.post(activate, {"code": code_of(form.secret)}, follow=True)
    codes = RecoveryCodes(Authenticator.objects.get(user=ben, type="recovery_codes")).get_unused_codes()
    assert len(codes) == 10
    assert all(code in done.content.decode() for code in codes)
    assert "Your recovery codes are shown once" in done.content.decode()
    # With a way to copy them, and one to go on.
    assert all(part in done.content.decode() for part in ('data-behavior="copy"', "I have saved them"))
    assert client.get("/keys/").status_code == 200
    assert not any(code in str(row) for code in codes for row in Authenticator.objects.values_list("data", flat=True))
    later = client.get("/accounts/2fa/recovery-codes/", follow=True).content.decode()
    assert not any(code in later for code in codes)


def test_at_the_next_sign_in_it_is_asked_for_and_a_recovery_code_does_once(ben: User) -> None:
    secret = "JBSWY3DPEHPK3PXP"
    TOTP.activate(ben, secret)
    codes = RecoveryCodes.activate(ben).get_unused_codes()
    for proof in (code_of(secret), codes[0]):
        client = Client()
        asked = client.post("/accounts/login/", {"login": ben.email, "password": PASSWORD})
        assert asked.headers["Location"] == "/accounts/2fa/authenticate/"
        assert client.get("/keys/").status_code == 302
        client.post("/accounts/2fa/authenticate/", {"code": proof})
        assert client.get("/keys/").status_code == 200
    client = Client()
    client.post("/accounts/login/", {"login": ben.email, "password": PASSWORD})
    client.post("/accounts/2fa/authenticate/", {"code": codes[0]})
    assert client.get("/keys/").status_code == 302


@pytest.mark.parametrize(
    ("left", "said"),
    [
        (10, "You used a recovery code; 9 are left."),
        (4, "3 are left. Make new ones"),
        (2, "1 is left. Make new ones"),
        (1, "That was your last recovery code."),
    ],
)
def test_who_uses_a_recovery_code_is_told_that_it_works_and_what_is_left(ben: User, left: int, said: str) -> None:
    TOTP.activate(ben, "JBSWY3DPEHPK3PXP")
    codes = RecoveryCodes.activate(ben)
    for spent in codes.get_unused_codes()[left:]:
        assert codes.validate_code(spent)
    client = Client()
    page = client.post("/accounts/login/", {"login": ben.email, "password": PASSWORD}, follow=True)
    assert "type one of your recovery codes instead" in page.content.decode()
    after = client.post("/accounts/2fa/authenticate/", {"code": codes.get_unused_codes()[0]}, follow=True)
    assert said in after.content.decode()


def test_who_has_no_recovery_codes_is_not_sent_to_look_for_them(ben: User) -> None:
    TOTP.activate(ben, "JBSWY3DPEHPK3PXP")
    client = Client()
    page = client.post("/accounts/login/", {"login": ben.email, "password": PASSWORD}, follow=True)
    assert "recovery codes instead" not in page.content.decode()
    after = client.post("/accounts/2fa/authenticate/", {"code": code_of("JBSWY3DPEHPK3PXP")}, follow=True)
    assert "You used a recovery code" not in after.content.decode()


def test_the_way_out_stays_open(ada: User, organization: Organization, ben_client: Client) -> None:
    give_factor(ada)
    require_second_factor(organization=organization, required=True, by=ada)
    for path in ("/accounts/2fa/", "/accounts/email/", "/accounts/logout/"):
        assert ben_client.get(path).status_code == 200, path
    assert ben_client.get("/api/keys/").json()["code"] == "second_factor_required"
    part = ben_client.get("/usage/live/", headers={"HX-Request": "true"})
    assert part.headers["HX-Redirect"].startswith(PAGE)


def test_keys_go_on(ada: User, ben: User, organization: Organization) -> None:
    from apikeys.verification import digests_of
    from usage.policies import load

    _key, secret = mint_key(project=organization.projects.get(), name="laptop", by=ben)
    give_factor(ada)
    require_second_factor(organization=organization, required=True, by=ada)
    assert load(digests_of(secret)[0]) is not None


def test_who_has_none_cannot_ask_it_of_others(ada: User, ada_client: Client, organization: Organization) -> None:
    with pytest.raises(NoSecondFactorError):
        require_second_factor(organization=organization, required=True, by=ada)
    url = f"/organizations/{organization.public_id}/second-factor/"
    refused = ada_client.post(url, {"requires_second_factor": "on"})
    assert refused.status_code == 400
    assert "Set up a second factor for your own account first" in refused.content.decode()
    give_factor(ada)
    page = ada_client.get(url).content.decode()
    assert "1 member has no second factor yet" in page
    assert ada_client.post(url, {"requires_second_factor": "on"}).status_code == 302
    organization.refresh_from_db()
    assert organization.requires_second_factor
    ada_client.post(url, {})
    organization.refresh_from_db()
    assert not organization.requires_second_factor


def test_who_has_none_is_told_where_it_is_asked_of_others(
    ada: User, ada_client: Client, organization: Organization
) -> None:
    places = [f"/organizations/{organization.public_id}/{page}/" for page in ("settings", "second-factor")]
    for place in places:
        page = ada_client.get(place).content.decode()
        assert "You have none" in page
        assert f'href="{PAGE}"' in page
    give_factor(ada)
    for place in places:
        assert "You have none" not in ada_client.get(place).content.decode()
    assert "You have one." in ada_client.get(places[0]).content.decode()


def test_only_owners_decide(organization: Organization, ben: User, ben_client: Client, cyd_client: Client) -> None:
    url = f"/organizations/{organization.public_id}/second-factor/"
    Membership.objects.filter(user=ben, organization=organization).update(role="admin")
    # Who may not change it is not led there.
    assert url not in ben_client.get(f"/organizations/{organization.public_id}/settings/").content.decode()
    assert ben_client.get(url).status_code == 403
    assert cyd_client.get(url).status_code == 404


def test_a_stranger_is_not_asked(ada: User, organization: Organization, cyd_client: Client) -> None:
    give_factor(ada)
    require_second_factor(organization=organization, required=True, by=ada)
    assert cyd_client.get("/keys/").status_code == 200
    assert "Nobody requires it of you" in cyd_client.get(PAGE).content.decode()


def test_staff_are_asked_where_the_operator_says_so(
    sam: User, sam_client: Client, ada_client: Client, settings: LazySettings
) -> None:
    settings.REQUIRE_SECOND_FACTOR_FOR_STAFF = True
    assert sam_client.get("/backends/").headers["Location"].startswith(PAGE)
    assert sam_client.get("/admin/").headers["Location"].startswith(PAGE)
    assert "The operator requires it of all staff" in sam_client.get(PAGE).content.decode()
    assert ada_client.get("/keys/").status_code == 200
    give_factor(sam)
    assert client_of(sam).get("/backends/").status_code == 200
