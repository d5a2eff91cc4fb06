"""Answers that are not streamed: their count, their name, and that a large one keeps nobody waiting."""

import time
from typing import Any

import orjson
import pytest

from inference.answers import WholeAnswer, whole_answer
from inference.counting import TokenCount
from inference.endpoints import ENDPOINTS
from inference.failures import AttemptFailedError

USAGE = {"prompt_tokens": 3, "completion_tokens": 50, "prompt_tokens_details": {"cached_tokens": 1}}


def choice(index: int, text: str, **more: Any) -> dict[str, Any]:
    return {"index": index, "message": {"role": "assistant", "content": text}, "finish_reason": "stop", **more}


def logprobs(tokens: int) -> dict[str, Any]:
    top = [{"token": f"t{rank}", "logprob": -1.0 * rank, "bytes": [116, 48]} for rank in range(20)]
    return {"content": [{"token": 'a"usage":{}', "logprob": -0.1, "bytes": [97], "top_logprobs": top}] * tokens}


def answer(*choices: dict[str, Any], **fields: Any) -> bytearray:
    return bytearray(
        orjson.dumps({"choices": choices, "created": 1, "model": "inside", "usage": USAGE, "timings": {}} | fields)
    )


def read(
    received: bytearray, *, choices: int = 1, path: str = "chat/completions", asked: int | None = None
) -> WholeAnswer:
    return whole_answer(
        received, endpoint=ENDPOINTS[path], model="m", choices=choices, asked_output=asked, likely_prompt=9
    )


def test_it_works() -> None:
    read_one = read(answer(choice(0, "Hello")))
    assert (read_one.count, read_one.is_estimated) == (TokenCount(3, 50, 1), False)
    assert orjson.loads(read_one.body)["model"] == "m"


def test_a_server_that_counts_one_of_three_answers() -> None:
    three = read(answer(*(choice(index, "word " * 60) for index in range(3))), choices=3)
    assert (three.count.completion_tokens, three.is_estimated) == (3 * 75, True)
    assert orjson.loads(three.body)["usage"]["completion_tokens"] == 3 * 75
    fair = read(answer(*(choice(index, "word " * 15) for index in range(3))), choices=3)
    assert (fair.count.completion_tokens, fair.is_estimated) == (50, False)


@pytest.mark.parametrize("is_older", [False, True])
def test_calls_of_tools_are_written_as_well(is_older: bool) -> None:
    function = {"name": "f", "arguments": "word " * 60}
    called = {"function_call": function} if is_older else {"tool_calls": [{"id": "c", "function": function}]}
    calls = [choice(index, "", message={"role": "assistant", "content": None, **called}) for index in range(3)]
    three = read(answer(*calls), choices=3)
    assert (three.count.completion_tokens, three.is_estimated) == (3 * 75, True)
    uncounted = read(answer(*calls, usage=None), choices=3)
    assert (uncounted.count.completion_tokens, uncounted.is_estimated) == (3 * 50, True)


@pytest.mark.parametrize("order", [("choices", "model", "usage"), ("usage", "model", "choices")])
def test_a_large_answer_says_the_same_without_being_parsed(order: tuple[str, ...]) -> None:
    fields = {"choices": [choice(0, "Hello", logprobs=logprobs(1000))], "model": "inside", "usage": USAGE}
    large = read(bytearray(orjson.dumps({name: fields[name] for name in order})))
    assert (large.count, large.is_estimated) == (TokenCount(3, 50, 1), False)
    assert orjson.loads(large.body) == {**fields, "model": "m"}


def test_what_a_client_calls_usage_is_no_count_of_a_large_answer() -> None:
    said = {"type": "message", "content": [{"type": "output_text", "text": "word " * 300_000}]}
    tool = {"type": "function", "name": "f", "parameters": {"usage": {"input_tokens": 0, "output_tokens": 0}}}
    usage = {"input_tokens": 3, "output_tokens": 50, "input_tokens_details": {"cached_tokens": 1}}
    received = orjson.dumps({"model": "inside", "output": [said], "tools": [tool], "usage": usage, "user": None})
    assert read(bytearray(received), path="responses").count == TokenCount(3, 50, 1)


def test_a_large_answer_with_several_choices_or_no_count() -> None:
    several = answer(*(choice(index, "x", logprobs=logprobs(1000)) for index in range(2)))
    assert read(several, choices=2).count.completion_tokens == 2000
    uncounted = read(answer(choice(0, "x", logprobs=logprobs(2000)), usage=None))
    assert (uncounted.count, uncounted.is_estimated) == (TokenCount(9, 2000), True)
    assert orjson.loads(uncounted.body)["usage"]["completion_tokens"] == 2000


UNCOUNTED: list[dict[str, Any]] = [{}, {"usage": None}, {"usage": {}}, {"usage": {"queue_time": 0.1}}]


@pytest.mark.parametrize("said", UNCOUNTED)
@pytest.mark.parametrize("model", [{}, {"model": None}, {"model": "inside"}])
def test_a_large_answer_has_the_count_and_the_name_that_it_lacked(said: dict[str, Any], model: dict[str, Any]) -> None:
    for text in ("word " * 2, "word " * 300_000):
        uncounted = read(bytearray(orjson.dumps({"choices": [choice(0, text)], **model, **said})))
        assert uncounted.is_estimated
        assert len(text) // 6 <= uncounted.count.completion_tokens <= len(text) // 6 + 30
        answered = orjson.loads(uncounted.body)
        assert answered["model"] == "m"
        assert answered["usage"]["completion_tokens"] == uncounted.count.completion_tokens
        # Twice the same field would be read differently by everybody.
        assert (uncounted.body.count(b'"usage"'), uncounted.body.count(b'"model"')) == (1, 1)


def test_nothing_is_added_to_a_large_answer_of_an_api_that_has_no_count() -> None:
    received = orjson.dumps({"data": [{"b64_json": "x" * 2_000_000}]})
    pictures = read(bytearray(received), path="images/generations")
    assert (pictures.body, pictures.count, pictures.is_estimated) == (received, TokenCount(9, 0), True)


def test_an_estimate_is_no_more_than_was_asked_for() -> None:
    logged = {"tokens": ["word"] * 50_000, "token_logprobs": [-0.1] * 50_000, "top_logprobs": [{"a": -1.0}] * 50_000}
    received = orjson.dumps({"choices": [{"index": 0, "text": "word " * 50_000, "logprobs": logged}]})
    assert read(bytearray(received), path="completions").count.completion_tokens > 50_000
    assert read(bytearray(received), path="completions", asked=40_000).count.completion_tokens == 40_000
    assert read(bytearray(received), path="completions", asked=30_000, choices=2).count.completion_tokens == 60_000


def test_a_long_transcript() -> None:
    words = [{"word": "word", "start": 0.1, "end": 0.2}] * 40_000
    fields = {"task": "transcribe", "text": 'word \\"' * 20_000, "words": words, "segments": [{"text": "word"}]}
    heard = read(bytearray(orjson.dumps(fields)), path="audio/transcriptions")
    assert heard.is_estimated
    assert 20_000 <= heard.count.completion_tokens <= 30_000
    total = {"type": "tokens", "input_tokens": 7, "output_tokens": 5, "total_tokens": 12}
    counted = read(bytearray(orjson.dumps(fields | {"usage": total})), path="audio/transcriptions")
    assert (counted.count, counted.is_estimated) == (TokenCount(7, 5), False)


@pytest.mark.parametrize(
    "order",
    [
        ["metadata", "tools", "output", "model", "usage"],
        ["output", "model", "usage", "metadata", "tools"],
        ["tools", "output", "model", "usage", "metadata"],
    ],
)
def test_a_large_answer_is_not_counted_by_what_its_caller_wrote(order: list[str]) -> None:
    nothing = {"model": "nobody", "usage": {"prompt_tokens": 0, "completion_tokens": 0}}
    said = {"metadata": {"a": "x" * 2_000_000}, "tools": [{"parameters": {"properties": nothing}}] * 10}
    own: dict[str, Any] = {"output": [], "model": "inside", "usage": USAGE}
    given = {name: (said | own)[name] for name in order}
    large = read(bytearray(orjson.dumps(given)), path="responses")
    assert (large.count, large.is_estimated) == (TokenCount(3, 50, 1), False)
    assert orjson.loads(large.body) == given | {"model": "m"}
    hidden = read(bytearray(orjson.dumps(said | {"output": [], "usage": None})), path="responses")
    assert hidden.is_estimated
    assert hidden.count.completion_tokens > 300_000


def test_many_places_for_a_count_keep_nobody_waiting() -> None:
    said = {"metadata": {"a": "x" * 2_000_000}, "output": [], "tools": [{"usage": {"a": {}}}] * 3000}
    started = time.thread_time()
    read(bytearray(orjson.dumps(said)), path="responses")
    assert time.thread_time() - started < 0.05


@pytest.mark.parametrize("results", [5, "text", [None, 5, {"message": 5}, {"message": {"tool_calls": [5]}}]])
def test_results_of_another_kind_are_nobodys_fault(results: object) -> None:
    assert read(answer(choices=results)).count == TokenCount(3, 50, 1)


def test_large_nonsense() -> None:
    whole = answer(choice(0, "x", logprobs=logprobs(1000)))
    for wrong in (whole[:-1], bytearray(b"<html>" * 300_000), bytearray(b"[" + whole + b"]")):
        with pytest.raises(AttemptFailedError):
            read(wrong)
    with pytest.raises(AttemptFailedError):
        read(whole, path="embeddings")


def test_twenty_megabytes_keep_nobody_waiting() -> None:
    large = answer(*(choice(index, "x", logprobs=logprobs(6000)) for index in range(4)))
    assert len(large) > 19_000_000
    started = time.thread_time()
    read(large, choices=4)
    assert time.thread_time() - started < 0.05
