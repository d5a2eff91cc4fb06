"""What is held about a person: the files and batches that they made with keys of their own."""

from collections.abc import Iterator

from accounts.holdings import Document, Holding, as_table
from accounts.models import User
from apikeys.models import ApiKey
from batches.models import Batch, MadeOnce, StoredFile


def export(user: User) -> Iterator[Document]:
    keys = ApiKey.objects.made_by([user.public_id])
    yield as_table(
        "batches/files.json",
        StoredFile.objects.filter(key__in=keys).order_by("pk"),
        *("public_id", "project__public_id", "filename", "purpose", "size_bytes", "created_at", "expires_at"),
    )
    yield as_table(
        "batches/batches.json",
        Batch.objects.filter(key__in=keys).order_by("pk"),
        *("public_id", "project__public_id", "endpoint", "model_name", "input_file_id", "output_file_id"),
        *("error_file_id", "metadata", "status", "total", "completed", "failed", "created_at"),
    )
    yield as_table(
        "batches/idempotency_keys.json",
        MadeOnce.objects.filter(key__in=keys).order_by("pk"),
        *("project__public_id", "idempotency_key", "answer", "created_at"),
    )


def erase(user: User) -> None:
    keys = ApiKey.objects.made_by([user.public_id])
    MadeOnce.objects.filter(key__in=keys).delete()
    Batch.objects.filter(key__in=keys).delete()
    StoredFile.objects.filter(key__in=keys).delete()


HOLDING = Holding(
    app="batches",
    exports=frozenset({"batches.StoredFile", "batches.Batch", "batches.MadeOnce"}),
    erases=frozenset({"batches.StoredFile", "batches.Batch", "batches.MadeOnce"}),
    export=export,
    erase=erase,
)
