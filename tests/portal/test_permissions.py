"""The two tables of all addresses, that of pages and that of roles, are whole and agree."""

from collections.abc import Iterator

import pytest
from django.urls import URLPattern, URLResolver, get_resolver

from tests.pages import ACTIONS, PAGES, PARTS, STEPS, Page, Who
from tests.permissions.answers import ROLES
from tests.permissions.table import TABLE


def addresses(resolver: URLResolver, namespaces: tuple[str, ...] = (), path: str = "/") -> Iterator[str]:
    """Every address there is: its name, or, where it has none, what it looks like."""
    for entry in resolver.url_patterns:
        if isinstance(entry, URLResolver):
            inner = (*namespaces, entry.namespace) if entry.namespace else namespaces
            yield from addresses(entry, inner, f"{path}{entry.pattern}")
        elif isinstance(entry, URLPattern):
            yield ":".join((*namespaces, entry.name)) if entry.name else f"{path}{entry.pattern}"


def test_every_address_is_in_the_table_once() -> None:
    table = [page.name for page in PAGES] + [*ACTIONS, *PARTS, *STEPS]
    pages = {name for name in addresses(get_resolver()) if not name.startswith(("admin:", "/"))}
    assert sorted(table) == sorted(pages)


@pytest.mark.parametrize("entry", PAGES, ids=lambda entry: entry.name)
def test_roles_are_told_the_same(entry: Page) -> None:
    """What the table of roles says is asked of the pages themselves in tests/permissions/test_every_address.py."""
    rows = [
        dict(zip(ROLES, row.answers["GET"].split(), strict=True))
        for row in TABLE
        if row.name == entry.name and "GET" in row.answers
    ]
    opened = {(row["visitor"], row["owner"], row["staff"]) for row in rows}
    if entry.who is Who.STAFF:
        assert opened == {("in", "404", "200")}
    elif entry.who is Who.MEMBER:
        # An id that is searched for leads on to what has it.
        assert {member for _visitor, member, _staff in opened} - {"302"} == {"200"}
        assert {visitor for visitor, _member, _staff in opened} <= {"in", "302"}
    else:
        assert {visitor for visitor, _member, _staff in opened} == {"200"}
