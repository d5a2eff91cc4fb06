"""A question of Ada's with an answer of Ben's that Cyd flagged."""

import pytest

from accounts.models import User
from community import services
from community.models import Flag, FlagReason
from forum import services as forum
from forum.models import Answer, Question


@pytest.fixture
def question(ada: User) -> Question:
    return forum.ask(author=ada, title="Why does streaming stop half-way?", source="It ends in the middle of a word.")


@pytest.fixture
def answer(question: Question, ben: User) -> Answer:
    return forum.answer(question=question, author=ben, source="Buy my cheap tokens instead.")


@pytest.fixture
def flag(answer: Answer, cyd: User) -> Flag:
    return services.raise_flag(post=answer.post, flagger=cyd, reason=FlagReason.SPAM, note="Third one today")
