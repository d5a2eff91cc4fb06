"""A backend is taken out of service without cutting anybody."""

from contextlib import closing

import openai
import orjson

from catalog import running
from catalog.models import Backend
from catalog.services import set_backend_enabled
from common import redis
from tests.gateway.conftest import Asked, Host, ask, chat, wait_for
from usage.tasks import reap


def runs_at(backend: Backend) -> int | None:
    running.note_running([backend])
    return backend.running


def test_it_works(client: openai.OpenAI, url: str, secret: str, host: Host, asked: Asked) -> None:
    model = host({}, {"priority": 1})
    backend = Backend.objects.get(name=f"{model}-0")
    body = {"model": model, "messages": chat(), "max_tokens": 1}
    told = {"fake": {"tokens": 100, "rate": 25}}
    with closing(client.chat.completions.create(model=model, messages=chat(), stream=True, extra_body=told)) as stream:
        wait_for(lambda: runs_at(backend) == 1)
        set_backend_enabled(backend=backend, is_enabled=False)

        def goes_elsewhere() -> bool:
            before = asked()
            assert ask(url, "/chat/completions", secret=secret, body=body).status == 200
            return asked()[1] > before[1]

        wait_for(goes_elsewhere)
        at_the_first = asked()[0]
        for _number in range(3):
            assert goes_elsewhere()
        assert asked()[0] == at_the_first
        assert runs_at(backend) == 1, "it goes on"
        assert sum(bool(chunk.choices and chunk.choices[0].delta.content) for chunk in stream) == 100
    wait_for(lambda: runs_at(backend) == 0)
    set_backend_enabled(backend=backend, is_enabled=True)
    wait_for(lambda: not goes_elsewhere())


def test_what_a_dead_process_said_is_forgotten(host: Host) -> None:
    backend = Backend.objects.get(name=f"{host({})}-0")
    long_ago = orjson.dumps([0, [running.Busy(1, backend.name, 3, 0, 0)]]).decode()
    redis.durable().hset(running.KEY, "process_dead", long_ago)
    redis.durable().hset(running.KEY, "process_alive", running.said([running.Busy(1, backend.name, 2, 0, 0)]))
    assert runs_at(backend) == 2
    reap()
    assert not redis.durable().hexists(running.KEY, "process_dead")
    assert redis.durable().hexists(running.KEY, "process_alive")
    redis.durable().hdel(running.KEY, "process_alive")
