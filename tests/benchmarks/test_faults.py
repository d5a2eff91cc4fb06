"""What is said to agree after a fault does: each way in which the ledger could differ from what was served is told."""

from collections import Counter
from typing import Any

import pytest

from benchmarks.faults import FAULTS, LONG_STREAMS, Outcome, compare, section
from benchmarks.stack import INPUT_NANO, OUTPUT_NANO

GATEWAY, WORKER, *_stores = FAULTS


def served(prompt: int, sent: int, *, cached: int = 0) -> dict[str, Any]:
    return {"caller": "key_1", "prompt_tokens": prompt, "cached_tokens": cached, "sent_tokens": sent}


def recorded(prompt: int, completion: int, **fields: Any) -> dict[str, Any]:
    cost = prompt * INPUT_NANO + completion * OUTPUT_NANO
    tokens = {"prompt_tokens": prompt, "cached_tokens": 0, "completion_tokens": completion, "cost_nano": cost}
    return {"key_id": "key_1", "status": 200, "is_estimated": False, **tokens, **fields}


def lost(prompt: int, completion: int) -> dict[str, Any]:
    return recorded(prompt, completion, status=500, is_estimated=True)


REFUSED = recorded(0, 0, status=429)


def test_it_works() -> None:
    outcome = Outcome(WORKER)
    compare(outcome, [served(10, 3), served(11, 0)], [recorded(11, 0), REFUSED, recorded(10, 3), REFUSED])
    assert outcome.wrong == []
    assert outcome.served == outcome.recorded
    assert (outcome.served["calls"], outcome.served["input"], outcome.served["output"]) == (2, 21, 3)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "1 calls are not recorded"),
        ([recorded(10, 4)], "was recorded"),
        ([recorded(10, 3, cached_tokens=1)], "was recorded"),
        ([recorded(10, 3, cost_nano=1)], "was recorded"),
        ([recorded(10, 3), recorded(10, 3)], "1 calls are recorded twice"),
        ([recorded(10, 3), recorded(12, 3)], "1 calls are recorded that were never served"),
        ([lost(10, 3)], "1 are estimated"),
    ],
)
def test_what_differs_is_told(rows: list[dict[str, Any]], said: str) -> None:
    outcome = Outcome(WORKER)
    compare(outcome, [served(10, 3)], rows)
    assert said in outcome.wrong[0]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([lost(10, 3)] * LONG_STREAMS, ""),
        ([lost(10, 3)], "4 calls were lost, 1 estimated"),
        ([lost(10, 3)] * 9, "9 estimated, 5 cut off"),
        ([lost(10, 9)] * LONG_STREAMS, "9 tokens are estimated where 3 were sent"),
        ([lost(10, 0)] * LONG_STREAMS, "no heartbeat was charged"),
        ([{**lost(10, 3), "status": 499}] * LONG_STREAMS, "a lost call is recorded as"),
    ],
)
def test_what_a_killed_gateway_had_running_follows_the_rule(rows: list[dict[str, Any]], said: str) -> None:
    outcome = Outcome(GATEWAY, answers=Counter({"cut": LONG_STREAMS + 1}))
    compare(outcome, [served(10, 3)] * LONG_STREAMS, rows)
    assert said in "".join(outcome.wrong)
    assert bool(outcome.wrong) is bool(said)


def test_the_page_says_both_and_what_lies_between() -> None:
    outcomes = [Outcome(fault) for fault in FAULTS]
    compare(outcomes[1], [served(1000, 300)], [recorded(1000, 299)])
    text = section(outcomes)
    assert "| the ingest worker | served | 1 | 1,000 | 0 | 300 | 330,000 |" in text
    assert "|  | recorded | 1 | 1,000 | 0 | 299 | 329,400 |" in text
    assert "|  | difference | 0 | 0 | 0 | -1 | -600 |" in text
