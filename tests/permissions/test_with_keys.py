"""The REST API asked with management keys, which may do what their owners may, and with keys that may not."""

import pytest

from tests.permissions.answers import ROLES, SIGN_IN, UNCHANGED, Address
from tests.permissions.asking import ask
from tests.permissions.cast import Cast
from tests.permissions.table import TABLE

REST = [address for address in TABLE if address.path.startswith("/api/")]
OPEN = {"/api/", "api-root", "api-schema", "api-models", "api-leaks"}
"""What nobody needs a key for."""

BY_PEOPLE = {("/api/keys/?kind=management", "POST")}
"""What only people do, signed in: a key with limits could make itself one without."""


def label(address: Address) -> str:
    return f"{address.name} {address.path}"


@pytest.mark.parametrize("address", REST, ids=label)
@pytest.mark.parametrize("role", ["owner", "stranger"])
def test_a_key_may_what_its_owner_may(cast: Cast, role: str, address: Address) -> None:
    for method, row in address.answers.items():
        answer = ask(cast, role, method, address, secret=cast.management_keys[role])
        if (address.path, method) in BY_PEOPLE:
            assert answer.word == "403", method
            continue
        # That it was used is noted of the key, so that something is written in any case.
        assert answer.word == row.split()[ROLES.index(role)].removesuffix(UNCHANGED), method


@pytest.mark.parametrize("address", [one for one in REST if one.name not in OPEN], ids=label)
def test_other_keys_change_nothing(cast: Cast, address: Address) -> None:
    for method in address.answers:
        reading = ask(cast, "owner", method, address, secret=cast.management_keys["owner who only reads"])
        if method != "GET":
            assert (reading.word, reading.writes) == ("403", []), method
        calling = ask(cast, "owner", method, address, secret=cast.management_keys["project"])
        assert (calling.word, calling.writes) == ("401", []), method


def test_a_page_takes_no_key(cast: Cast) -> None:
    page = next(address for address in TABLE if address.name == "apikeys:list")
    assert ask(cast, "owner", "GET", page, secret=cast.management_keys["owner"]).word == SIGN_IN
