from io import StringIO

import pytest
from allauth.account.models import EmailAddress
from django.core.management import CommandError, call_command

from accounts.models import Project, User
from apikeys.models import ApiKey

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
