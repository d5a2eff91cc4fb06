"""What is held about a person's runs."""

from collections.abc import Iterator

from accounts.holdings import Document, Holding, as_table
from accounts.models import User
from playground.models import Run
from playground.services import delete_run


def export(user: User) -> Iterator[Document]:
    yield as_table(
        "playground/runs.json",
        Run.objects.of(user).order_by("pk"),
        *("public_id", "title", "model_name", "messages", "parameters", "status", "output", "reasoning"),
        *("prompt_tokens", "completion_tokens", "cost_nano", "created_at", "finished_at"),
    )


def erase(user: User) -> None:
    for run in Run.objects.of(user).defer("messages", "output", "reasoning"):
        delete_run(run=run)


HOLDING = Holding(
    app="playground",
    exports=frozenset({"playground.Run"}),
    erases=frozenset({"playground.Run"}),
    export=export,
    erase=erase,
)
