"""Four gateways in processes of their own over one store: what binds or ends on one does so on all."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from apikeys.models import ApiKey
from apikeys.services import revoke_key
from tests.gateway.conftest import START_SECONDS, Stage, ask, is_there, wait_for, web_process
from tests.gateway.test_limits import Mint, fifty_pass
from tests.gateway.test_limits_of_scopes import Team
from usage.models import UsageEvent


@pytest.fixture(scope="module")
def urls(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    var = tmp_path_factory.mktemp("var")
    with ExitStack() as all_of_them:
        started = [all_of_them.enter_context(web_process(var))[0] for _number in range(4)]
        for url in started:
            wait_for(lambda at=url: is_there(at), seconds=START_SECONDS)  # type: ignore[misc]
        yield started


def status(url: str, secret: str) -> int:
    try:
        return ask(url, "/models", method="GET", secret=secret).status
    except OSError:
        return 0


class Caller(threading.Thread):
    """Calls one gateway without a pause, and keeps what it was answered and when it asked."""

    def __init__(self, url: str, secret: str) -> None:
        super().__init__(daemon=True)
        self._url, self._secret = url, secret
        self.answers: list[tuple[float, int]] = []
        self.is_over = False

    def run(self) -> None:
        while not self.is_over:
            asked_at = time.monotonic()
            self.answers.append((asked_at, status(self._url, self._secret)))


@pytest.mark.parametrize("scope", ["key", "organization", "plan"])
def test_exactly_the_limit_passes_of_a_crowd_at_all(urls: list[str], stage: Stage, scope: str) -> None:
    team = Team(urls[0])
    secrets = [team.secret] if scope == "key" else [team.secret, team.mint()[1]]
    team.limit(scope, requests_per_day=50)
    statuses = team.crowd(200, urls=urls, secrets=secrets)
    assert (statuses.count(200), statuses.count(429)) == (50, 150)
    team.remove()


def test_a_revoked_key_is_refused_by_all_within_a_second(urls: list[str], secret: str, stage: Stage) -> None:
    callers = [Caller(url, secret) for url in urls]
    for caller in callers:
        caller.start()
    for caller in callers:
        wait_for(lambda one=caller: len(one.answers) >= 20, seconds=20)  # type: ignore[misc]
        assert {answer for _asked_at, answer in caller.answers if answer} == {200}

    revoke_key(key=ApiKey.objects.behind(secret).get(), by=stage.ada)
    revoked_at = time.monotonic()

    for caller in callers:
        wait_for(lambda one=caller: one.answers[-1][0] > revoked_at + 1.2 and one.answers[-1][1], seconds=20)  # type: ignore[misc]
        caller.is_over = True
        caller.join(10)
        # 0 is a connection that this machine did not make in time, and no answer.
        late = {answer for asked_at, answer in caller.answers if asked_at >= revoked_at + 1 and answer}
        assert late == {401}


def test_a_budget_is_one_for_all(urls: list[str], mint: Mint, event_of: Callable[[str], UsageEvent]) -> None:
    fifty_pass(urls, mint, event_of)
