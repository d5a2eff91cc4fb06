"""The sample questions, read from the files beside this one.

A file holds questions one after the other. `=== question: title` opens one, followed by `name: value` lines, a blank
line and its text; `=== answer by name, n votes` opens its answer.
"""

import re
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
_HEADER = re.compile(r"^=== ", re.MULTILINE)
_ANSWER = re.compile(r"answer by (?P<by>\w+), (?P<votes>\d+) votes")


@dataclass(frozen=True)
class SampleAnswer:
    by: str
    votes: int
    text: str


@dataclass(frozen=True)
class SampleQuestion:
    """One question with its accepted answer, asked `days` days before the data was loaded."""

    title: str
    tags: list[str]
    by: str
    days: int
    votes: int
    text: str
    answer: SampleAnswer


def sample_questions() -> list[SampleQuestion]:
    """Every sample question, of both languages, the oldest first."""
    questions = [question for path in sorted(FOLDER.glob("questions.*.md")) for question in _read(path)]
    return sorted(questions, key=lambda question: -question.days)


def _read(path: Path) -> list[SampleQuestion]:
    _before, *parts = _HEADER.split(path.read_text(encoding="utf-8"))
    return [_parse(asked, answered) for asked, answered in zip(parts[::2], parts[1::2], strict=True)]


def _parse(asked: str, answered: str) -> SampleQuestion:
    head, _blank, text = asked.partition("\n\n")
    title, *fields = head.splitlines()
    facts = dict(field.split(": ", 1) for field in fields)
    answer_head, _newline, answer_text = answered.partition("\n")
    match = _ANSWER.fullmatch(answer_head.strip())
    if match is None:
        raise ValueError(f"Not an answer's first line: {answer_head!r}")
    return SampleQuestion(
        title=title.removeprefix("question: "),
        tags=facts["tags"].split(", "),
        by=facts["by"],
        days=int(facts["days"]),
        votes=int(facts["votes"]),
        text=text.strip(),
        answer=SampleAnswer(by=match["by"], votes=int(match["votes"]), text=answer_text.strip()),
    )
