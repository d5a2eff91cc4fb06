"""The words in which the table says what each role gets.

A row holds one answer for each of `ROLES`, in that order: the status; `in` for a redirection to the sign-in page; and a
status with `=` behind it when a method that asks for a change succeeds and changes nothing.
"""

from dataclasses import dataclass, field
from typing import Any

ROLES = ("owner", "admin", "member", "viewer", "billing", "participant", "stranger", "visitor", "staff")
"""Places in the organization; then a guest of it who takes part in the project; a stranger to both; a visitor who is
not signed in; and staff of the portal, who have no place in the organization either."""

SIGN_IN = "in"
UNCHANGED = "="


@dataclass(frozen=True)
class Address:
    """An address and what each of its methods answers. What may not be in `answers` is refused to everybody.

    `path` and `data`, what is sent, may hold names of the world in braces. An address stands in the table as often as
    there are ways to ask it that are to be told apart.
    """

    name: str
    path: str
    answers: dict[str, str]
    data: dict[str, Any] = field(default_factory=dict)


def everybody(success: str = "200") -> str:
    return " ".join([success] * len(ROLES))


def signed_in(success: str = "200") -> str:
    """About whoever asks, or about nobody."""
    return f"{success} {success} {success} {success} {success} {success} {success} in {success}"


def insiders(success: str = "200") -> str:
    """Whoever belongs to the organization, and to the project."""
    return f"{success} {success} {success} {success} {success} {success} 404 in 404"


def those_who_see_people(success: str = "200") -> str:
    return f"{success} {success} {success} {success} 403 403 404 in 404"


def those_who_see_keys(success: str = "200") -> str:
    """Of a list of them: it is known to be there."""
    return f"{success} {success} {success} {success} 403 403 404 in 404"


def those_who_see_usage(success: str = "200") -> str:
    """Of a call in the owner's playground: who sees only their own does not learn that it was made."""
    return f"{success} {success} {success} {success} {success} 404 404 in 404"


def those_who_see_all_usage(success: str = "200") -> str:
    """Of the whole organization, whichever projects it is of."""
    return f"{success} {success} 403 403 {success} 403 404 in 404"


def those_who_see_the_key(success: str = "200") -> str:
    """Of one that the owner made: who sees only their own does not learn that it is there."""
    return f"{success} {success} {success} {success} 404 404 404 in 404"


def those_who_change_the_key(success: str = "200") -> str:
    """Of one that the owner made: members change their own."""
    return f"{success} {success} 403 403 404 404 404 in 404"


def makers_of_keys(success: str = "201") -> str:
    return f"{success} {success} {success} 403 403 {success} 404 in 404"


def managers(success: str = "200") -> str:
    return f"{success} {success} 403 403 403 403 404 in 404"


def owner(success: str = "200") -> str:
    return f"{success} 403 403 403 403 403 404 in 404"


def whose_it_is(success: str = "200") -> str:
    """What is one person's alone, the owner's."""
    return f"{success} 404 404 404 404 404 404 in 404"


def staff(success: str = "200") -> str:
    """A page of the operator's, of which nobody else learns that it is there."""
    return f"404 404 404 404 404 404 404 in {success}"


def staff_of_the_admin(success: str = "200") -> str:
    """A page of Django's admin, which sends everybody else to where staff sign in."""
    return f"in in in in in in in in {success}"


def by_api(row: str) -> str:
    """The same over the REST API, where a visitor is told so."""
    return row.replace(SIGN_IN, "401")
