"""Every address × method × role answers as the table says, and no address is missing from the table."""

import pytest
from django.urls import get_resolver

from tests.permissions.answers import ROLES, Address
from tests.permissions.asking import METHODS, REFUSED, Answer, ask
from tests.permissions.cast import Cast
from tests.permissions.table import OURS, TABLE
from tests.portal.test_permissions import named_urls

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
    assert sorted({address.name for address in TABLE}) == sorted(set(named_urls(get_resolver())))


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
    name: {method for row in OURS if row.name == name for method in row.answers} for name in {row.name for row in OURS}
}
"""The methods of each address that are in the table."""


@pytest.mark.parametrize("address", {row.name: row for row in OURS}.values(), ids=label)
def test_no_other_method_does_anything(cast: Cast, address: Address) -> None:
    for method in METHODS:
        for role in ("owner", "visitor", "staff") if method not in ANSWERED[address.name] else ():
            answer = ask(cast, role, method, address)
            assert answer.word in REFUSED - {"400", "409"}, (method, role)
            assert not answer.writes, (method, role)
