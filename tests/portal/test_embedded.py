"""The embedded services, each started for real."""

import json
import os
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import pytest
import redis as redis_client
from kombu import Connection
from openai import AuthenticationError, OpenAI
from openai.types.chat import ChatCompletionMessageParam

from portal import env
from portal.embedded import state
from portal.embedded.model import ALIAS, address, model_program
from portal.embedded.postgres import Cluster, end_leftover
from portal.embedded.program import CannotStart, clean_environment, free_port
from portal.embedded.redis import address as redis_address
from portal.embedded.redis import redis_program
from tests import services

LONG_NAME = "a folder with spaces, a ' quote and a % sign " + "x" * 100


@pytest.fixture
def cluster(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    throwaway = getattr(request, "param", True)
    made = Cluster(home=tmp_path / LONG_NAME / "postgres", port=free_port(), password="secret", throwaway=throwaway)
    yield made
    made.remove()


def test_it_works(cluster: Cluster) -> None:
    with services.running(cluster.program()), psycopg.connect(cluster.url) as connection:
        row = connection.execute("SELECT current_user, current_database(), upper('é')").fetchone()
    assert row == ("lyceum", "lyceum", "É")


@pytest.mark.parametrize("cluster", [False], indirect=True, ids=["as the portal has it"])
def test_rows_outlive_a_killed_server(cluster: Cluster) -> None:
    with services.running(cluster.program()) as server:
        with psycopg.connect(cluster.url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
        server.kill()
        server.start()
        with psycopg.connect(cluster.url) as connection:
            assert connection.execute("SELECT number FROM kept").fetchone() == (7,)


def test_a_server_left_running_is_ended_by_the_next_start(cluster: Cluster) -> None:
    program = cluster.program()
    with services.running(program) as server:
        program.prepare()
        assert server.process.wait(5) == 0


def test_a_lock_file_that_names_somebody_elses_process_is_removed(tmp_path: Path) -> None:
    lock = tmp_path / "postmaster.pid"
    lock.write_text(f"{os.getpid()}\n{tmp_path}\n")
    end_leftover(tmp_path)
    assert not lock.exists()


def test_postgres_refuses_a_wrong_password_and_the_superuser(cluster: Cluster) -> None:
    with services.running(cluster.program()):
        for wrong in (
            cluster.url.replace(":secret@", ":guess@"),
            cluster.url.replace("lyceum:secret", "postgres:secret"),
        ):
            with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
                psycopg.connect(wrong)


def test_a_cluster_of_another_postgres_is_told_in_one_line(cluster: Cluster) -> None:
    program = cluster.program()
    data = program.cwd / "data"
    data.mkdir()
    (data / "PG_VERSION").write_text("16\n")
    with pytest.raises(CannotStart, match="was written by PostgreSQL 16"):
        program.prepare()


@pytest.mark.parametrize(
    ("durable", "expected"),
    [
        (True, {"appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction", "save": ""}),
        (False, {"appendonly": "no", "maxmemory": "268435456", "maxmemory-policy": "volatile-ttl", "save": ""}),
    ],
)
def test_redis_keeps_everything_or_nothing(durable: bool, expected: dict[str, str]) -> None:
    with services.redis(durable=durable) as url, redis_client.Redis.from_url(url, decode_responses=True) as client:
        assert {name: client.config_get(name)[name] for name in expected} == expected


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder whose path is no longer than a Unix socket's may be."""
    with TemporaryDirectory(prefix="50% & ") as folder:
        yield Path(folder)


def test_redis_is_reached_by_a_socket_that_is_its_users_alone(short_folder: Path) -> None:
    folder, port = short_folder, free_port()
    program = redis_program(name="redis", folder=folder, port=port, password="secret", durable=True)
    with services.running(program):
        url = redis_address(folder=folder, port=port, password="secret")
        assert url.startswith("unix:")
        with redis_client.Redis.from_url(url) as client:
            assert client.ping()
        with Connection(env.broker_address(url)) as broker, closing(broker.SimpleQueue("tasks")) as queue:
            queue.put({"by": "Celery"})
            message = queue.get(timeout=10)
            message.ack()
            assert message.payload == {"by": "Celery"}
        assert stat.S_IMODE((folder / "redis.sock").stat().st_mode) == 0o600
        url = redis_address(folder=folder, port=port, password="wrong")
        with redis_client.Redis.from_url(url) as client, pytest.raises(redis_client.AuthenticationError):
            client.ping()


def test_redis_is_reached_by_its_port_where_the_path_is_too_long_for_a_socket(tmp_path: Path) -> None:
    folder, port = tmp_path / LONG_NAME, free_port()
    program = redis_program(name="redis", folder=folder, port=port, password="secret", durable=True)
    url = redis_address(folder=folder, port=port, password="secret")
    assert url == env.broker_address(url) == f"redis://:secret@127.0.0.1:{port}/0"
    with services.running(program), redis_client.Redis.from_url(url) as client:
        assert client.ping()


def test_redis_refuses_without_the_password_and_lives_in_any_folder(tmp_path: Path) -> None:
    port = free_port()
    program = redis_program(name="redis", folder=tmp_path / LONG_NAME, port=port, password="secret", durable=True)
    with (
        services.running(program),
        redis_client.Redis(port=port) as client,
        pytest.raises(redis_client.AuthenticationError),
    ):
        client.ping()
    assert (tmp_path / LONG_NAME / "appendonly.aof").exists() or (tmp_path / LONG_NAME / "appendonlydir").exists()


def test_the_model_chats_streams_and_embeds() -> None:
    port = free_port()
    asked: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Say hello."}]
    with (
        services.running(model_program(port=port, key="secret")),
        OpenAI(base_url=address(port), api_key="secret") as client,
    ):
        assert [model.id for model in client.models.list()] == [ALIAS]
        answer = client.chat.completions.create(model=ALIAS, messages=asked, max_tokens=8)
        assert answer.choices[0].message.content
        assert answer.usage
        assert answer.usage.completion_tokens <= 8
        stream = client.chat.completions.create(
            model=ALIAS, messages=asked, max_tokens=8, stream=True, stream_options={"include_usage": True}
        )
        chunks = list(stream)
        assert len([chunk for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]) > 1
        assert chunks[-1].usage
        # Longer than llama.cpp's default batch, which would refuse it.
        embedding = client.embeddings.create(model=ALIAS, input=["word " * 520, "other"])
        assert [len(item.embedding) for item in embedding.data] == [576, 576]
        with pytest.raises(AuthenticationError):
            client.with_options(api_key="guess").chat.completions.create(model=ALIAS, messages=asked)


def test_secrets_are_made_once_and_private(tmp_path: Path) -> None:
    first = state.load_secrets(tmp_path)
    assert state.load_secrets(tmp_path) == first
    assert (tmp_path / "secrets.json").stat().st_mode & 0o777 == 0o600
    no_secrets = {"SECRET_KEY_FALLBACKS", "SECRET_KEY_CHANGED_AT"}
    assert all(len(value) >= 32 for name, value in first.items() if name not in no_secrets)


def test_damaged_secrets_are_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "secrets.json").write_text('{"SECRET_KEY": "cut sho')
    with pytest.raises(CannotStart, match="is damaged"):
        state.load_secrets(tmp_path)


def test_a_second_supervisor_is_told_where_the_first_one_is(tmp_path: Path) -> None:
    first = state.Lock(tmp_path)
    first.acquire()
    first.announce("http://localhost:8000")
    with pytest.raises(CannotStart, match="already runs from this folder: http://localhost:8000"):
        state.Lock(tmp_path).acquire()


def test_a_file_is_replaced_in_one_step(tmp_path: Path) -> None:
    path = tmp_path / "runtime.json"
    state.write_json(path, {"PORT": "1"})
    state.write_json(path, {"PORT": "2"})
    assert json.loads(path.read_text()) == {"PORT": "2"}
    assert list(tmp_path.iterdir()) == [path]


def test_the_callers_oddities_do_not_reach_the_services() -> None:
    before = dict(os.environ)
    os.environ.update(
        PYTHONPATH="/elsewhere", PGSSLMODE="require", VIRTUAL_ENV="/other", CELERY_BROKER_URL="x://", KEPT="1"
    )
    try:
        environment = clean_environment(PORT="1")
    finally:
        os.environ.clear()
        os.environ.update(before)
    assert {"PYTHONPATH", "PGSSLMODE", "VIRTUAL_ENV", "CELERY_BROKER_URL"}.isdisjoint(environment)
    assert (environment["KEPT"], environment["PORT"]) == ("1", "1")


def test_free_ports_differ() -> None:
    assert len({free_port() for _ in range(20)}) > 15
