"""PostgreSQL away for a moment, as a restart makes it, under people who read pages."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.db import connection

from tests.fakes.tcp_proxy import TcpProxy
from tests.gateway.conftest import ask, is_there, wait_for, web_process

LOADS_A_SECOND = 50
SECONDS = 2


@pytest.fixture
def postgres() -> Iterator[TcpProxy]:
    database = connection.settings_dict
    with TcpProxy(database["HOST"], int(database["PORT"] or 5432)) as proxy:
        yield proxy


def test_a_short_restart_of_the_database_is_no_error(
    transactional_db: None, postgres: TcpProxy, tmp_path: Path
) -> None:
    database = connection.settings_dict
    way = f"postgres://{database['USER']}:{database['PASSWORD']}@127.0.0.1:{postgres.port}/{database['NAME']}"
    with (
        web_process(tmp_path, application="portal.asgi:application", DATABASE_URL=way) as (url, _process),
        ThreadPoolExecutor(64) as readers,
    ):
        wait_for(lambda: is_there(url), seconds=60)
        site = url.removesuffix("/v1")
        assert ask(site, "/models/", method="GET").status == 200
        loads = []
        for number in range(LOADS_A_SECOND * SECONDS):
            loads.append(readers.submit(ask, site, "/models/", method="GET"))
            if number == LOADS_A_SECOND // 2:
                postgres.cut()
            if number == LOADS_A_SECOND:
                postgres.resume()
            time.sleep(1 / LOADS_A_SECOND)
        statuses = [load.result().status for load in loads]
    assert statuses == [200] * len(statuses)
