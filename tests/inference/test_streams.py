"""Streams cut anywhere, chunks of every server, and what of them a client sees."""

import orjson
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from common.errors import ApiError, ContextTooLongError, UpstreamError
from inference.counting import TokenCount
from inference.streams import ChatStream, EventSplitter, MessageStream

TEXTS = st.text(alphabet=st.characters(blacklist_categories=["Cs"]), max_size=40)


def chunk(content: str | None = None, *, finish: str | None = None, **fields: object) -> bytes:
    delta = {} if content is None else {"content": content}
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return orjson.dumps({"id": "c1", "created": 1, "model": "m", "choices": [choice], **fields})


def usage(prompt: int, completion: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


# A machine that is busy is no fault of the splitter's.
@hypothesis_settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(TEXTS, max_size=8), st.integers(1, 64), st.sampled_from([b"\n\n", b"\r\n\r\n"]))
def test_it_works_wherever_the_reads_fall(texts: list[str], size: int, end: bytes) -> None:
    events = [orjson.dumps({"text": text}) for text in texts]
    sent = b"".join(b": ping" + end + b"data: " + event + end for event in events)
    splitter = EventSplitter()
    found = [data for start in range(0, len(sent), size) for data in splitter.feed(sent[start : start + size])]
    assert found == events
    assert splitter.rest() == b""


def test_a_line_of_megabytes_takes_no_longer_than_it_must() -> None:
    event = b"data: " + b"x" * 4_000_000 + b"\n\n"
    splitter = EventSplitter()
    found = [data for start in range(0, len(event), 4096) for data in splitter.feed(event[start : start + 4096])]
    assert [len(data) for data in found] == [4_000_000]


def test_an_event_without_end_is_an_error() -> None:
    with pytest.raises(UpstreamError):
        list(EventSplitter().feed(b"x" * 40_000_000))


def test_a_last_event_without_an_empty_line_is_found() -> None:
    splitter = EventSplitter()
    assert list(splitter.feed(b"data: 1\n\ndata: 2")) == [b"1"]
    assert splitter.rest() == b"2"


def test_what_need_not_change_passes_byte_for_byte() -> None:
    stream = ChatStream(model="m", wants_usage=False)
    data = b'{"id":"c1", "model":"m", "choices":[{"delta":{"content":"\xe4\xbd\xa0","x":null}}],  "odd" : 1.50}'
    assert stream.take(data) == b"data: " + data + b"\n\n"


def test_what_a_server_wrote_over_two_lines_stays_one_event() -> None:
    frame = chunk("Hello").replace(b",", b",\n", 1)
    sent = ChatStream(model="m", wants_usage=False).take(frame)
    assert list(EventSplitter().feed(sent)) == [frame]


def test_usage_is_hidden_from_those_who_did_not_ask() -> None:
    stream = ChatStream(model="m", wants_usage=False)
    assert b"usage" not in stream.take(chunk("a", usage=usage(3, 1)))
    assert stream.take(orjson.dumps({"model": "m", "choices": [], "usage": usage(3, 1)})) == b""
    assert stream.ending(likely_prompt=9) == b"data: [DONE]\n\n"
    assert stream.counted == TokenCount(3, 1)


def test_usage_comes_last_for_those_who_asked() -> None:
    stream = ChatStream(model="m", wants_usage=True)
    assert orjson.loads(stream.take(chunk("a"))[6:])["usage"] is None
    stream.take(chunk(None, finish="stop", usage=usage(3, 1)))
    frames = stream.ending(likely_prompt=9).split(b"\n\n")
    last = orjson.loads(frames[0][6:])
    assert (last["choices"], last["usage"], last["id"]) == ([], usage(3, 1), "c1")
    assert frames[1] == b"data: [DONE]"


def test_an_explicit_zero_is_a_count() -> None:
    stream = ChatStream(model="m", wants_usage=False)
    stream.take(chunk(None, finish="stop"))
    stream.take(orjson.dumps({"choices": [], "usage": usage(0, 0)}))
    assert stream.count(likely_prompt=9) == TokenCount(0, 0)
    assert stream.has_final_count


def test_a_server_that_counts_one_of_several_answers() -> None:
    stream = ChatStream(model="m", wants_usage=True)
    for index in (0, 1, 2):
        for _word in range(5):
            stream.take(orjson.dumps({"choices": [{"index": index, "delta": {"content": "a"}}]}))
    stream.take(orjson.dumps({"choices": [], "usage": usage(3, 5)}))
    assert stream.count(likely_prompt=9) == TokenCount(3, 15)
    assert not stream.has_final_count
    assert b'"completion_tokens":15' in stream.ending(likely_prompt=9)


def test_a_thought_sent_under_two_names_is_one() -> None:
    stream = ChatStream(model="m", wants_usage=False)
    stream.take(orjson.dumps({"choices": [{"delta": {"reasoning": "a" * 12, "reasoning_content": "a" * 12}}]}))
    assert stream.count(likely_prompt=9) == TokenCount(9, 2)


@pytest.mark.parametrize(
    "called",
    [
        {"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": "a" * 600}}]},
        {"function_call": {"name": "f", "arguments": "a" * 600}},
    ],
)
def test_a_call_of_a_tool_in_one_piece_is_as_long_as_its_arguments(called: dict[str, object]) -> None:
    stream = ChatStream(model="m", wants_usage=False)
    stream.take(orjson.dumps({"choices": [{"delta": called}]}))
    assert stream.count(likely_prompt=9) == TokenCount(9, 100)
    assert stream.has_content


def test_the_reason_why_a_message_ends_is_no_word_of_it() -> None:
    stream = MessageStream(model="m", wants_usage=False)
    stream.take(b'{"type":"content_block_delta","delta":{"type":"text_delta","text":"Hello"}}')
    stream.take(b'{"type":"message_delta","delta":{"stop_reason":"end_turn"}}')
    assert stream.count(likely_prompt=9) == TokenCount(9, 1)


def test_a_running_count_is_no_final_one() -> None:
    stream = ChatStream(model="m", wants_usage=False)
    stream.take(chunk("a", usage=usage(3, 1)))
    stream.take(chunk("b"))
    assert not stream.has_final_count
    assert stream.count(likely_prompt=9) == TokenCount(3, 2)


def test_the_running_count_of_llama_cpp() -> None:
    timings = {"cache_n": 30, "prompt_n": 4, "prompt_ms": 11.7, "predicted_n": 3}
    stream = ChatStream(model="m", wants_usage=False)
    assert b"timings" not in stream.take(chunk("a", timings=timings))
    assert not stream.has_final_count
    assert stream.count(likely_prompt=9) == TokenCount(34, 3, 30)
    stream.take(chunk(None, finish="stop"))
    assert b"timings" in stream.take(chunk(None, timings=timings))
    asked = ChatStream(model="m", wants_usage=False, wants_timings=True)
    assert b"timings" in asked.take(chunk("a", timings=timings))


@pytest.mark.parametrize("timings", [None, [], {}, {"prompt_n": "4", "predicted_n": 1}, {"prompt_n": 4}])
def test_timings_that_count_nothing(timings: object) -> None:
    stream = ChatStream(model="m", wants_usage=False)
    stream.take(chunk("a", timings=timings))
    assert stream.count(likely_prompt=9) == TokenCount(9, 1)


@pytest.mark.parametrize(
    "data",
    [b"{", b"[]", b'"x"', b"{}", b'{"choices": 1}', b'{"error": {"message": "at 10.0.0.7"}}', b'{"object": "error"}'],
)
def test_nonsense_and_errors_are_told_in_our_words(data: bytes) -> None:
    with pytest.raises(ApiError) as caught:
        ChatStream(model="m", wants_usage=False).take(data)
    assert "10.0.0.7" not in str(caught.value.body())


def test_llama_cpps_error_line_is_an_error() -> None:
    with pytest.raises(ContextTooLongError):
        list(
            EventSplitter().feed(b'error: {"code":400,"message":"the request exceeds the available context size"}\n\n')
        )


@given(
    st.dictionaries(TEXTS, st.recursive(st.none() | st.booleans() | st.integers(-9, 9) | TEXTS, st.lists), max_size=4)
)
def test_no_chunk_breaks_it(chunk_of_any_kind: dict[str, object]) -> None:
    stream = ChatStream(model="m", wants_usage=True)
    for fields in (chunk_of_any_kind, {"choices": [chunk_of_any_kind]}, {"choices": [{"delta": chunk_of_any_kind}]}):
        try:
            stream.take(orjson.dumps(fields))
        except ApiError:
            continue
