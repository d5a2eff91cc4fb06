"""Where posts live. The app that owns a kind of post registers how its posts are found, in `AppConfig.ready()`."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from community.models import Post


@dataclass(frozen=True)
class Place:
    """The page a post is read on: what it is called, and its address down to the post."""

    title: str
    url: str


Locator = Callable[[Collection[Post]], dict[int, Place]]

_locators: dict[str, Locator] = {}


def register(kind: str, locator: Locator) -> None:
    """`locator` finds the places of posts of `kind`, by primary key, in one query."""
    _locators[kind] = locator


def places_of(posts: Iterable[Post]) -> dict[int, Place]:
    """The place of each post, by primary key; one query per kind of post among them."""
    by_kind: dict[str, list[Post]] = {}
    for post in posts:
        by_kind.setdefault(post.kind, []).append(post)
    places: dict[int, Place] = {}
    for kind, same in by_kind.items():
        places |= _locators[kind](same)
    return places


def place_of(post: Post) -> Place:
    return places_of([post])[post.pk]
