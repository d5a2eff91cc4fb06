import pytest
from hypothesis import given
from hypothesis import strategies as st

from apikeys.verification import (
    KIND_PARTS,
    _checksum,
    digest_of,
    digests_of,
    find_keys,
    is_well_formed,
    kind_of,
    new_secret,
    prefix_of,
)


def test_it_works() -> None:
    secret = new_secret()
    assert is_well_formed(secret)
    assert digest_of(secret) == digests_of(secret)[0]
    assert secret not in (digest_of(secret) or "")


def test_the_checksum_is_the_one_npm_and_github_use() -> None:
    assert _checksum("qkJaB6MffYVzZXWqmcoF49yrUxP3wf") == "0LsakP"
    assert _checksum("rH39afa0PHvEDg72PPnuryL5UP0ZUA") == "34ae9N"


@pytest.mark.parametrize("kind", KIND_PARTS)
def test_each_kind_is_known_by_what_it_begins_with(kind: str) -> None:
    secret = new_secret(kind)
    assert (kind_of(secret), find_keys(f"({secret})")) == (kind, [secret])
    for other in KIND_PARTS.keys() - {kind}:
        disguised = f"{prefix_of(other)}_{secret.partition('_')[2]}"
        assert kind_of(disguised) == other
        assert digest_of(disguised) != digest_of(secret)


def test_a_typing_error_is_refused_without_looking_anything_up() -> None:
    secret = new_secret()
    wrong = secret[:-1] + ("0" if secret[-1] != "0" else "1")
    assert digest_of(wrong) is None


@given(st.text(max_size=80))
def test_junk_is_no_key(text: str) -> None:
    assert digest_of(text) is None
    assert digest_of(f"lyc_{text}") is None


def test_a_key_is_found_in_a_text() -> None:
    secret = new_secret()
    assert find_keys(f"I call it with {secret}, and get 401. lyc_{'a' * 36}") == [secret]
