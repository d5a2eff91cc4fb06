"""Everything in the database that is encrypted with FIELD_ENCRYPTION_KEYS, and how it comes under another key.

Encrypted fields are found by looking at the models. What is encrypted within something else is registered by the app
that puts it there. A value is replaced only where it still is what was read, so that nobody's change is lost, whoever
writes meanwhile; what has the right key is left alone, so that a run which was killed is simply begun again.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.db.models import F, Field, Model, QuerySet, TextField, Value
from django.db.models.functions import Cast

from common.fields import EncryptedTextField, UndecryptableError, renewed

BATCH = 500


@dataclass(frozen=True, slots=True)
class Sealed:
    """A column that holds secrets. `renew` gives the stored value with every secret under the first key."""

    label: str
    rows: Callable[[], QuerySet[Any]]
    field: str
    kept_as: Callable[[], "Field[Any, Any]"]
    renew: Callable[[Any], Any]


@dataclass(slots=True)
class Tally:
    """What was found in a column: values in all, those under an older key, and those that no key decrypts."""

    label: str
    values: int = 0
    old: int = 0
    lost: int = 0


_registered: list[Sealed] = []


def register(sealed: Sealed) -> None:
    """Have `sealed` renewed with the encrypted fields. For `AppConfig.ready()`."""
    _registered.append(sealed)


def columns() -> list[Sealed]:
    """Every place in the database where something is kept encrypted."""
    found = [
        Sealed(
            label=f"{model._meta.label}.{field.name}",
            rows=model._base_manager.all,
            field=field.name,
            kept_as=TextField,
            renew=lambda token: renewed(token) if token else token,
        )
        for model in apps.get_models()
        for field in model._meta.local_fields
        if isinstance(field, EncryptedTextField) and not model._meta.proxy
    ]
    return [*found, *_registered]


def tally(column: Sealed) -> Tally:
    """Which keys a column needs. Changes nothing."""
    counted = Tally(column.label)
    for _pk, kept in _kept(column):
        counted.values += bool(kept)
        try:
            counted.old += column.renew(kept) != kept
        except UndecryptableError:
            counted.lost += 1
    return counted


def renew(column: Sealed) -> None:
    """Bring a column under the first key; what no key decrypts stays as it is."""
    for pk, kept in _kept(column):
        fresh = _fresh(column, kept)
        while fresh != kept and not _replace(column, pk, kept, fresh):
            # Somebody wrote meanwhile: what they wrote may be under an older key as well.
            kept = _stored(column).filter(pk=pk).values_list("kept", flat=True).first()
            if kept is None:
                break
            fresh = _fresh(column, kept)


def _fresh(column: Sealed, kept: Any) -> Any:
    """The value under the first key; as it is where no key decrypts it."""
    try:
        return column.renew(kept)
    except UndecryptableError:
        return kept


def _stored(column: Sealed) -> QuerySet[Model]:
    # Without the cast an encrypted field would decrypt what is read, and encrypt what it is compared with.
    rows: QuerySet[Model] = column.rows().annotate(kept=Cast(F(column.field), column.kept_as()))
    return rows


def _kept(column: Sealed) -> Iterator[tuple[Any, Any]]:
    last: Any = None
    while True:
        rows = _stored(column).order_by("pk")
        batch = list((rows if last is None else rows.filter(pk__gt=last)).values_list("pk", "kept")[:BATCH])
        yield from batch
        if len(batch) < BATCH:
            return
        last = batch[-1][0]


def _replace(column: Sealed, pk: Any, kept: Any, fresh: Any) -> bool:
    value = Value(fresh, output_field=column.kept_as())
    return bool(_stored(column).filter(pk=pk, kept=kept).update(**{column.field: Cast(value, column.kept_as())}))
