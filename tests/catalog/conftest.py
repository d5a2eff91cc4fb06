from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from catalog.models import Backend, BackendKind, Deployment, HostedModel
from tests.catalog.servers import Answer, Server, serving


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Starts fake servers that stop with the test."""
    with ExitStack() as running:

        def start(answers: dict[str, Answer], *, key: str = "") -> Server:
            return running.enter_context(serving(answers, key=key))

        yield start


@pytest.fixture
def backend(db: None) -> Backend:
    """A backend whose address nothing answers at."""
    return Backend.objects.create(
        name="gpu-1",
        base_url="http://127.0.0.1:9/v1",
        kind=BackendKind.VLLM,
        credential="sk-gpu-1-very-secret-7Kq2",
        is_healthy=True,
    )


@pytest.fixture
def hosted_model(backend: Backend) -> HostedModel:
    """A model with prices that runs on `backend`."""
    model = HostedModel.objects.create(
        public_name="Qwen/Qwen3-8B",
        description="Good at many things.",
        context_window=32768,
        input_price_nano=50_000_000,
        output_price_nano=200_000_000,
    )
    Deployment.objects.create(hosted_model=model, backend=backend, backend_name="Qwen/Qwen3-8B", context_window=32768)
    return model
