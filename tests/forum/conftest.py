"""A question of Ada's, answered by Ben, and short ways to write more."""

import pytest

from accounts.models import User
from forum import services
from forum.models import Answer, Question

TEXT = "I send max_tokens 64 and the answer stops in the middle of a word."


@pytest.fixture
def question(ada: User) -> Question:
    return services.ask(
        author=ada, title="Why does streaming stop half-way?", source=TEXT, tags=["streaming", "python"]
    )


@pytest.fixture
def answer(question: Question, ben: User) -> Answer:
    return services.answer(question=question, author=ben, source="Raise `max_tokens`: 64 tokens are spent by then.")
