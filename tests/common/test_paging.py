from typing import Any

import pytest

from accounts.models import Project, User
from apikeys.models import ApiKey
from apikeys.services import mint_key
from common.paging import keyset_page


@pytest.fixture
def names(ada: User, project: Project) -> list[str]:
    """Names of seven keys, the newest first."""
    return [mint_key(project=project, name=f"key {number}", by=ada)[0].name for number in range(7)][::-1]


def walk(size: int) -> tuple[list[str], str | None]:
    seen: list[str] = []
    cursor: str | None = None
    while True:
        page = keyset_page(ApiKey.objects.all(), by="created_at", cursor=cursor, size=size)
        seen += [key.name for key in page.items]
        if page.older is None:
            return seen, page.newer
        cursor = page.older


@pytest.mark.parametrize("size", [1, 3, 7, 25])
def test_it_works(names: list[str], size: int) -> None:
    assert walk(size)[0] == names


def test_it_goes_back(names: list[str]) -> None:
    _seen, newer = walk(3)
    page = keyset_page(ApiKey.objects.all(), by="created_at", cursor=newer, size=3)
    assert [key.name for key in page.items] == names[3:6]


def test_rows_of_one_moment_are_neither_lost_nor_repeated(names: list[str]) -> None:
    ApiKey.objects.update(created_at=ApiKey.objects.earliest("pk").created_at)
    assert sorted(walk(2)[0]) == sorted(names)


@pytest.mark.parametrize("cursor", ["", "forged", "WyJvbGRlciIsMSwxXQ:1:1"])
def test_a_forged_cursor_is_the_first_page(names: list[str], cursor: str) -> None:
    page = keyset_page(ApiKey.objects.all(), by="created_at", cursor=cursor, size=2)
    assert [key.name for key in page.items] == names[:2]


def test_it_goes_up_as_well_as_down(names: list[str]) -> None:
    first = keyset_page(ApiKey.objects.all(), by="name", cursor=None, size=4, ascending=True)
    second = keyset_page(ApiKey.objects.all(), by="name", cursor=first.older, size=4, ascending=True)
    assert [key.name for key in [*first.items, *second.items]] == sorted(names)
    assert keyset_page(ApiKey.objects.all(), by="name", cursor=second.newer, size=4, ascending=True) == first


def test_a_cursor_of_another_order_is_the_first_page(names: list[str]) -> None:
    cursor = keyset_page(ApiKey.objects.all(), by="name", cursor=None, size=2).older
    page = keyset_page(ApiKey.objects.all(), by="created_at", cursor=cursor, size=2)
    assert [key.name for key in page.items] == names[:2]


@pytest.mark.parametrize("ascending", [False, True])
def test_several_parts_are_one_list(names: list[str], ascending: bool, django_assert_num_queries: Any) -> None:
    odd = ApiKey.objects.filter(name__in=names[1::2])
    even = ApiKey.objects.filter(name__in=names[::2])
    wanted = names[::-1] if ascending else names
    seen: list[str] = []
    cursor: str | None = None
    while len(seen) < len(names):
        with django_assert_num_queries(1):
            page = keyset_page(odd, even, by="created_at", cursor=cursor, size=3, ascending=ascending)
        seen += [key.name for key in page.items]
        cursor = page.older
    assert (seen, cursor) == (wanted, None)
    back = keyset_page(odd, even, by="created_at", cursor=page.newer, size=3, ascending=ascending)
    assert [key.name for key in back.items] == wanted[3:6]
