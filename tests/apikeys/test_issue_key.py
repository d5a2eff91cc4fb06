from io import StringIO

import pytest
from allauth.account.models import EmailAddress
from django.core.management import CommandError, call_command

from accounts.models import Project, ServiceAccount, User
from apikeys.models import ApiKey, KeyPolicy
from apikeys.verification import kind_of

pytestmark = pytest.mark.django_db


def issue(*arguments: str) -> str:
    out = StringIO()
    call_command("issue_key", *arguments, stdout=out)
    return out.getvalue()


def test_it_works() -> None:
    printed = issue("--email", "Grace@Example.com", "--name", "script")
    secret = printed.strip()
    key = ApiKey.objects.behind(secret).get()
    assert printed == f"{secret}\n"
    assert len(secret) >= 24
    assert key.name == "script"
    assert EmailAddress.objects.get(email="grace@example.com").verified


def test_a_known_address_is_reused(ada: User, project: Project) -> None:
    issue("--email", ada.email)
    assert ApiKey.objects.get().project == project
    assert User.objects.count() == 1


def test_what_is_no_address_is_refused() -> None:
    with pytest.raises(CommandError, match="no e-mail address"):
        issue("--email", "grace")
    assert not User.objects.exists()


def test_a_service_key_is_of_an_account_that_is_made_once() -> None:
    for _time in range(2):
        secret = issue("--email", "grace@example.com", "--kind", "service", "--name", "nightly").strip()
        assert kind_of(secret) == "service"
    assert ServiceAccount.objects.get().name == "nightly"
    assert ServiceAccount.objects.get().api_keys.count() == 2


def test_a_management_key_is_a_persons() -> None:
    secret = issue("--email", "grace@example.com", "--kind", "management").strip()
    key = ApiKey.objects.behind(secret).get()
    assert (kind_of(secret), key.project) == ("management", None)
    assert key.owner == User.objects.get(email="grace@example.com")


def test_what_the_policy_forbids_is_not_issued(ada: User, project: Project) -> None:
    KeyPolicy.objects.create(organization=project.organization, longest_lifetime_days=5)
    with pytest.raises(CommandError, match="at most 5 days"):
        issue("--email", ada.email)
