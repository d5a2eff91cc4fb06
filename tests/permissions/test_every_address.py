"""Every address × method × role answers as the table says, and no address is missing from the table."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from django.conf import settings
from django.db import transaction
from django.urls import get_resolver

from accounts.models import User
from common.guards import PAGES_OF_PACKAGES
from tests.conftest import client_of, person
from tests.permissions.answers import ROLES, Address
from tests.permissions.asking import METHODS, REFUSED, Answer, ask
from tests.permissions.cast import Cast
from tests.permissions.rows import admin
from tests.permissions.table import TABLE
from tests.portal.test_permissions import addresses

KEEPERS = {"owner", "admin"}
SEEN_BY = {
    "organization": {*KEEPERS, "member", "viewer", "billing", "participant"},
    "project": {*KEEPERS, "member", "viewer", "billing", "participant"},
    "key": {*KEEPERS, "member", "viewer"},
    "service_account": {*KEEPERS, "member", "viewer"},
    "member": {*KEEPERS, "member", "viewer"},
    "cohort": KEEPERS,
    "join_token": KEEPERS,
    "join_link": KEEPERS,
    "invitation": KEEPERS,
    "endpoint": KEEPERS,
    "run": {"owner"},
    "notification": {"owner"},
    "export": {"owner"},
    "session": {"owner"},
}
"""Who may read which id of the owner's on any page, beside staff, who read them in the log."""


def label(address: Address) -> str:
    return f"{address.name} {address.path}"


def test_every_address_is_in_the_table() -> None:
    assert {address.name for address in TABLE} == set(addresses(get_resolver()))


@pytest.mark.parametrize("address", TABLE, ids=label)
def test_what_each_role_gets(cast: Cast, address: Address) -> None:
    got = {}
    for method in address.answers:
        answers = {role: ask(cast, role, method, address) for role in ROLES}
        got[method] = " ".join(answer.word for answer in answers.values())
        for role, answer in answers.items():
            assert not (answer.word in REFUSED and answer.writes), (method, role, answer.writes)
            assert not leaks(cast, role, address, answer), (method, role)
    assert got == address.answers


def leaks(cast: Cast, role: str, address: Address, answer: Answer) -> list[str]:
    """Ids in the answer that are not for this role. Those it named itself tell it nothing."""
    if role == "staff":
        return []
    hidden = [name for name, roles in SEEN_BY.items() if role not in roles and f"{{{name}}}" not in address.path]
    return [name for name in hidden if cast.names[name] in answer.text]


ANSWERED = {
    name: {method for row in TABLE if row.name == name for method in row.answers}
    for name in {row.name for row in TABLE}
}
"""The methods of each address that are in the table."""


@pytest.fixture
def clerk(cast: Cast) -> Iterator[Cast]:
    """The same with somebody on the staff whom nobody has given a right in the admin."""
    user = person("Cora", is_staff=True)
    User.objects.filter(pk=user.pk).update(is_superuser=False)
    sessions = {"clerk": client_of(user).cookies[settings.SESSION_COOKIE_NAME].value}
    yield replace(cast, sessions=sessions, savepoint=transaction.savepoint())
    transaction.savepoint_rollback(cast.savepoint)


OWN = {"admin:login", "admin:logout", "admin:password_change", "admin:password_change_done", "admin:jsi18n"}
"""About whoever asks, or about nobody."""


def test_staff_without_rights_get_nothing_in_the_admin(clerk: Cast) -> None:
    for address in admin.ROWS:
        if address.name not in OWN:
            # Whether somebody may comes before what they would do: a form tells nothing that its sending would not.
            answer = ask(clerk, "clerk", "POST", address)
            if address.name == "admin:index":
                assert not any(f"/admin/{model.replace('.', '/')}/" in answer.text for model in admin.MODELS)
            else:
                # Of a row it is not told whether it is there: that address leads to its page whoever asks.
                assert answer.word in {"403", "404", "405", "302="}, address
            assert not answer.writes, address


@pytest.mark.parametrize("address", {row.name: row for row in TABLE}.values(), ids=label)
def test_no_other_method_does_anything(cast: Cast, address: Address) -> None:
    # Before a page of a package is asked at all, whoever asks.
    roles = ("staff",) if address.path.startswith(PAGES_OF_PACKAGES) else ("owner", "visitor", "staff")
    for method in METHODS:
        for role in roles if method not in ANSWERED[address.name] else ():
            answer = ask(cast, role, method, address)
            assert answer.word in REFUSED - {"400", "409"}, (method, role)
            assert not answer.writes, (method, role)
