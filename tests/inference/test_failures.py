"""What servers say when they fail, in our words."""

import orjson
import pytest

from common.errors import ApiError, ContextTooLongError, OverloadedError, RateLimitError, UpstreamError
from inference.failures import from_status

LEAKS = [
    "http://10.1.2.3:8000/v1",
    "/srv/models/llama",
    "0x7ffd1234",
    "sk-secret",
    'File "x.py", line 3',
    "gpu-07.internal",
]


def answer(status: int, body: object, retry_after: str | None = None) -> ApiError:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return from_status(status, raw, retry_after=retry_after).answer


@pytest.mark.parametrize("leak", LEAKS)
@pytest.mark.parametrize("status", [400, 401, 404, 422, 429, 500, 502, 503])
@pytest.mark.parametrize("shape", ["nested", "flat", "detail", "text"])
def test_nothing_of_the_inside_gets_out(leak: str, status: int, shape: str) -> None:
    described = {"message": leak, "type": leak, "param": leak, "code": leak}
    bodies: dict[str, object] = {
        "nested": {"error": described},
        "flat": {"object": "error", **described},
        "detail": {"detail": [{"loc": ["body", leak], "msg": leak}]},
        "text": leak.encode(),
    }
    error = answer(status, bodies[shape])
    assert leak not in str(error.body()) + str(error.headers)


@pytest.mark.parametrize(
    ("body", "limit", "requested"),
    [
        (
            {
                "error": {
                    "message": "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens"
                }
            },
            4096,
            5000,
        ),
        ({"error": {"code": 400, "type": "exceed_context_size_error", "n_prompt_tokens": 900, "n_ctx": 512}}, 512, 900),
        ({"error": {"code": "context_length_exceeded", "message": "no"}}, None, None),
        (
            {"error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 2048. Given: 3000"},
            2048,
            3000,
        ),
    ],
)
def test_a_context_that_is_too_long(body: object, limit: int | None, requested: int | None) -> None:
    error = answer(400, body)
    assert isinstance(error, ContextTooLongError)
    for number in (limit, requested):
        assert number is None or str(number) in error.message


def test_a_field_the_server_names_is_named() -> None:
    error = answer(422, {"detail": [{"loc": ["body", "temperature"], "msg": "too hot"}]})
    assert (error.status, error.param) == (400, "temperature")


def test_busy_servers_pass_their_wait_on() -> None:
    busy = answer(429, b"", "12")
    assert isinstance(busy, RateLimitError)
    assert busy.headers["Retry-After"] == "12"
    starting = answer(503, b"", "soon")
    assert isinstance(starting, OverloadedError)
    assert starting.headers["Retry-After"] == "1"
    for odd in ("nan", "-inf", "-5", "0"):
        assert answer(503, b"", odd).headers["Retry-After"] == "1"
    assert answer(503, b"", "inf").headers["Retry-After"] == "3600"
    assert answer(429, b"", "3600").headers["x-should-retry"] == "false"


@pytest.mark.parametrize("status", [301, 401, 403, 404, 429, 503])
def test_a_server_that_does_not_take_the_call_may_be_replaced(status: int) -> None:
    failure = from_status(status, b"<html>", retry_after=None)
    assert failure.elsewhere
    assert failure.is_servers


@pytest.mark.parametrize("status", [500, 502, 504])
def test_a_server_that_broke_at_work_is_not_replaced_for_this_call(status: int) -> None:
    failure = from_status(status, b"<html>", retry_after=None)
    assert isinstance(failure.answer, UpstreamError)
    assert not failure.elsewhere
    assert failure.is_servers


def test_a_refused_request_is_nobodys_fault() -> None:
    failure = from_status(400, b"{}", retry_after=None)
    assert not failure.elsewhere
    assert not failure.is_servers


@pytest.mark.parametrize(
    ("said", "param"),
    [
        ('Failed to parse messages: Missing tool call type: "x"', "messages"),
        ("Failed to parse tools: Missing tool type: 7; tools = [ 7 ]", "tools"),
        ("image input is not supported - hint: if this is unexpected, you may need to provide the mmproj", "messages"),
        ("Unknown reasoning format: zzz", "reasoning_format"),
    ],
)
def test_what_llama_cpp_calls_its_own_fault_is_the_requests(said: str, param: str) -> None:
    failure = from_status(500, orjson.dumps({"error": {"code": 500, "message": said}}), retry_after=None)
    assert (failure.answer.status, failure.answer.param, failure.is_servers) == (400, param, False)
