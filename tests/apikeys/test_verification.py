from hypothesis import given
from hypothesis import strategies as st

from apikeys.verification import _checksum, digest_of, digests_of, find_keys, is_well_formed, new_secret


def test_it_works() -> None:
    secret = new_secret()
    assert is_well_formed(secret)
    assert digest_of(secret) == digests_of(secret)[0]
    assert secret not in (digest_of(secret) or "")


def test_the_checksum_is_the_one_npm_and_github_use() -> None:
    assert _checksum("qkJaB6MffYVzZXWqmcoF49yrUxP3wf") == "0LsakP"
    assert _checksum("rH39afa0PHvEDg72PPnuryL5UP0ZUA") == "34ae9N"


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
