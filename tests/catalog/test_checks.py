import pytest
from django.conf import LazySettings

from catalog.checks import credentials_decrypt, embedded_address_is_one
from catalog.models import Backend
from tests.catalog.test_routing import break_credential


def test_it_works(backend: Backend, settings: LazySettings) -> None:
    settings.EMBEDDED_MODEL_URL = "http://127.0.0.1:18181/v1"
    assert embedded_address_is_one() == []
    assert credentials_decrypt(databases=["default"]) == []


@pytest.mark.parametrize("url", ["127.0.0.1:18181", "http://me:pw@127.0.0.1/v1"])
def test_an_address_that_is_none(settings: LazySettings, url: str) -> None:
    settings.EMBEDDED_MODEL_URL = url
    assert [message.id for message in embedded_address_is_one()] == ["catalog.E001"]


def test_a_credential_that_no_longer_decrypts(backend: Backend) -> None:
    break_credential("gpu-1")
    [message] = credentials_decrypt(databases=["default"])
    assert "gpu-1" in message.msg
    assert credentials_decrypt() == []
