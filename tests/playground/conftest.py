"""A catalog to choose from, and runs that are already over."""

from collections.abc import Callable
from typing import Any

import pytest

from accounts.models import Project, User
from catalog.models import Backend, Deployment, HostedModel
from common.redis import volatile
from playground.models import Run, RunStatus


def hosted(name: str, *, backend: Backend, **values: Any) -> HostedModel:
    model = HostedModel.objects.create(public_name=name, **values)
    Deployment.objects.create(hosted_model=model, backend=backend, backend_name=name)
    return model


@pytest.fixture
def backend(db: None) -> Backend:
    return Backend.objects.create(name="fake", base_url="http://127.0.0.1:9/v1")


@pytest.fixture
def model(backend: Backend) -> HostedModel:
    return hosted("qwen3-32b", backend=backend)


@pytest.fixture
def run_of(db: None) -> Callable[..., Run]:
    """Makes a run of a user as a worker would have left it."""

    def make(user: User, **values: Any) -> Run:
        defaults: dict[str, Any] = {
            "project": Project.objects.for_member(user)[0],
            "title": "Say hello",
            "model_name": "qwen3-32b",
            "messages": [{"role": "user", "content": "Say hello"}],
            "status": RunStatus.SUCCEEDED,
            "output": "Hello.",
        }
        return Run.objects.create(user=user, **{**defaults, **values})

    return make


@pytest.fixture(autouse=True)
def empty_streams() -> None:
    volatile().flushdb()
