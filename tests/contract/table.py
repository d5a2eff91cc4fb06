"""The page of what was seen to work: clients, their versions and every feature, out of the reports of the clients."""

from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "compatibility.md"


@dataclass(frozen=True)
class Feature:
    """One row: its title, and what a client was seen to do."""

    title: str
    meaning: str


FEATURES = {
    "chat": Feature("Chat", "An answer as a whole."),
    "stream": Feature("Streaming", "The same, word by word."),
    "stream_usage": Feature("Usage of a stream", "The count of tokens, for `stream_options.include_usage`."),
    "tools": Feature("Tools", "The model calls a tool, is given the result and answers."),
    "tools_stream": Feature("Tools, streamed", "The same call, put together from the pieces of a stream."),
    "structured": Feature("Structured output", "`response_format` with a JSON schema, and the answer parsed by it."),
    "completions": Feature("Completions", "`/v1/completions`, whole and streamed."),
    "responses": Feature("Responses", "`/v1/responses`, whole."),
    "responses_stream": Feature("Responses, streamed", "The same by its events; one that breaks ends with an error."),
    "count_tokens": Feature("Counting tokens", "`/v1/messages/count_tokens`, which uses none."),
    "embeddings": Feature("Embeddings", "Vectors as numbers."),
    "embeddings_base64": Feature("Embeddings, base64", "Vectors in base64, which OpenAI's SDKs ask for by themselves."),
    "pictures": Feature("Pictures", "Made, and several changed under a mask: `/v1/images/…`."),
    "files": Feature("Files", "Uploaded, listed, described, read back and deleted."),
    "batches": Feature("Batches", "Made of a file, waited for, and its answers read."),
    "models": Feature("List of models", "`GET /v1/models` as the client reads it."),
    "slashed_model": Feature("Model names with `/`", "A model called `lab/…`, in a body and in an address."),
    "request_id": Feature("Request id", "The client hands out `x-request-id`, of answers and of errors."),
    "wrong_key": Feature("401, a wrong key", "What a program catches; its code is `invalid_api_key`."),
    "unknown_model": Feature("404, an unknown model", "The same; `model_not_found`."),
    "bad_request": Feature(
        "400, a field that is refused", "The same; `unsupported_parameter`, with the field in `param`."
    ),
    "rate_limit": Feature("429, a limit", "The same; `rate_limit_exceeded`."),
    "overloaded": Feature("503, a busy server", "The same; `service_unavailable`."),
    "retries_rate_limit": Feature(
        "Tries at 429", "As set by default, with `Retry-After: 1`; none came back earlier than told."
    ),
    "retries_overloaded": Feature("Tries at 503", "The same for a server that is overloaded."),
    "retries_long_wait": Feature("Tries at a long wait", "`Retry-After: 120` comes with `x-should-retry: false`."),
    "spent_budget": Feature("Tries at a spent budget", "`x-should-retry: false`, for only a person can help."),
    "broken_stream": Feature(
        "A stream that breaks", "What a program catches after the first words; never a silent end."
    ),
}


@dataclass(frozen=True)
class Report:
    """What a client said of itself: a word per feature, and the trace of each that failed."""

    client: str
    package: str
    cells: dict[str, str]
    failures: dict[str, str]


def page(reports: list[Report]) -> str:
    """The whole page. A feature that a client does not try is left empty."""
    unknown = {name for report in reports for name in report.cells} - set(FEATURES)
    if unknown:
        raise ValueError(f"Not in FEATURES: {', '.join(sorted(unknown))}")
    ordered = sorted(reports, key=lambda report: report.client.lower())
    meanings = "\n".join(f"- **{feature.title}**: {feature.meaning}" for feature in FEATURES.values())
    return f"""# Clients that work

`make contract` writes this page: each of these clients, in the version it is pinned to, calls a running gateway in
front of a scripted inference server (`tests/contract/`). `make test` fails when what it sees differs from this page.

{_table(ordered)}

An empty cell was not tried, mostly because the client has no such feature.

## What each row says

{meanings}
"""


def _table(reports: list[Report]) -> str:
    rows = [
        ["", *(report.client for report in reports)],
        ["---"] * (len(reports) + 1),
        ["Package", *(report.package for report in reports)],
        *([feature.title, *(_shown(report, name) for report in reports)] for name, feature in FEATURES.items()),
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _shown(report: Report, name: str) -> str:
    word = report.cells.get(name, "")
    return f"`{word}`" if word.endswith("Error") else word
