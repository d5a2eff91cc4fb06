"""The circuit breaker of a deployment, by a clock of the test's own."""

from usage.breaker import MOST_FAILURES, REST_SECONDS, Breaker


def opened(*, at: float = 0.0) -> Breaker:
    breaker = Breaker()
    breaker.failed(at, opens=True)
    return breaker


def test_it_works() -> None:
    breaker = Breaker()
    for second in range(MOST_FAILURES):
        breaker.failed(float(second), opens=False)
    last = float(MOST_FAILURES - 1)
    assert not breaker.passes(last + REST_SECONDS - 0.1)
    assert breaker.passes(last + REST_SECONDS), "it may be probed"
    breaker.begin("a")
    assert not breaker.passes(last + REST_SECONDS), "by one call at a time"
    breaker.answered()
    assert breaker.passes(last + REST_SECONDS)
    breaker.begin("b")
    assert breaker.passes(last + REST_SECONDS), "closed, it takes any number"


def test_one_failure_lets_it_rest_and_then_everybody_in() -> None:
    breaker = Breaker()
    breaker.failed(0.0, opens=False)
    assert not breaker.passes(REST_SECONDS - 0.1)
    breaker.begin("a")
    assert breaker.passes(REST_SECONDS)


def test_failures_count_in_a_row_alone() -> None:
    breaker = Breaker()
    for _number in range(MOST_FAILURES - 1):
        breaker.failed(0.0, opens=False)
    breaker.answered()
    assert breaker.passes(0.0)
    breaker.failed(0.0, opens=False)
    breaker.begin("a")
    assert breaker.passes(REST_SECONDS)


def test_a_probe_that_fails_lets_it_rest_again() -> None:
    breaker = opened()
    breaker.begin("a")
    breaker.failed(REST_SECONDS, opens=False)
    assert not breaker.passes(2 * REST_SECONDS - 0.1)
    assert breaker.passes(2 * REST_SECONDS)


def test_a_probe_that_ends_without_an_answer_makes_room_for_the_next() -> None:
    breaker = opened()
    breaker.begin("a")
    breaker.end("b")
    assert not breaker.passes(REST_SECONDS)
    breaker.end("a")
    assert breaker.passes(REST_SECONDS)
