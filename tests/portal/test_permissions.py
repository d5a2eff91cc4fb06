"""Who may open which page, over the table of all addresses."""

from collections.abc import Iterator

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from accounts.models import User
from tests.pages import ACTIONS, PAGES, PARTS, STEPS, Page, Who, build_world


def named_urls(resolver: URLResolver, namespaces: tuple[str, ...] = ()) -> Iterator[str]:
    for entry in resolver.url_patterns:
        if isinstance(entry, URLResolver):
            if entry.namespace != "admin":
                yield from named_urls(entry, (*namespaces, *([entry.namespace] if entry.namespace else [])))
        elif isinstance(entry, URLPattern) and entry.name:
            yield ":".join((*namespaces, entry.name))


@pytest.fixture
def world(ada: User, cyd: User, sam: User) -> dict[str, str]:
    return build_world(ada=ada, cyd=cyd, sam=sam)


def test_every_address_is_in_the_table_once() -> None:
    table = [page.name for page in PAGES] + [*ACTIONS, *PARTS, *STEPS]
    assert sorted(table) == sorted(set(named_urls(get_resolver())))


@pytest.mark.parametrize("entry", PAGES, ids=lambda entry: entry.name)
def test_who_may_open_it(
    entry: Page, world: dict[str, str], client: Client, ada_client: Client, sam_client: Client
) -> None:
    path = entry.path.format(**world)
    visitor, member, staff = (who.get(path).status_code for who in (client, ada_client, sam_client))
    if entry.who is Who.STAFF:
        assert (visitor, member, staff) == (302, 404, 200)
    elif entry.who is Who.MEMBER:
        assert (visitor, member) == (302, 200)
    else:
        assert visitor == 200
