"""Every model that refers to a person says how it is exported and how it is erased."""

from collections.abc import Iterator

import pytest
from django.apps import apps
from django.db.models import Field, Model

from accounts.holdings import holdings
from accounts.models import User

# Where a person stands in a column without being a foreign key.
OF_A_PERSON = {"user_id", "recipient"}


def about_people() -> Iterator[type[Model]]:
    for model in apps.get_models():
        fields = [field for field in model._meta.get_fields() if isinstance(field, Field)]
        refers = any(field.related_model is User for field in fields if not field.many_to_many)
        if model is User or refers or any(field.name in OF_A_PERSON for field in fields):
            yield model


@pytest.mark.parametrize("model", list(about_people()), ids=lambda model: model._meta.label)
def test_a_model_about_people_is_exported_and_erased(model: type[Model]) -> None:
    label = model._meta.label
    kept = {name for holding in holdings() for name in holding.keeps}
    assert label in kept | {name for holding in holdings() for name in holding.exports}, "no exporter"
    assert label in kept | {name for holding in holdings() for name in holding.erases}, "no eraser"


def test_nothing_is_named_that_is_not_there() -> None:
    labels = {model._meta.label for model in apps.get_models()}
    for holding in holdings():
        assert holding.exports | holding.erases | holding.keeps.keys() <= labels


def test_what_rests_on_an_account_goes_before_it() -> None:
    assert [holding.app for holding in holdings()][-1] == "accounts"
