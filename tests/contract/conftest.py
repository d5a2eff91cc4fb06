"""A gateway with models that behave as they are called, and every client run against it once."""

import json
import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from pytest_django.plugin import DjangoDbBlocker

import lyceum
from apikeys.services import mint_key
from apikeys.terms import Terms
from batches.models import Batch, StoredFile
from catalog.models import Backend, Deployment, HostedModel
from tests.batches.conftest import process_of_worker
from tests.contract.arrivals import Arrivals
from tests.contract.table import Report
from tests.fakes.inference_server import FakeInferenceServer
from tests.gateway.conftest import Stage, db, fake, serving, stage  # noqa: F401

HERE = Path(__file__).parent
SECONDS = 300
SIDE_BY_SIDE = 4
CITY = {"city": "Paris"}
SCRIPTS: dict[str, dict[str, Any]] = {
    "tool-chat": {"tool_call": ["weather", json.dumps(CITY)]},
    "json-chat": {"structured": json.dumps({**CITY, "degrees": 21})},
    "busy-chat": {"status": 429, "retry_after": "1"},
    "crowded-chat": {"status": 429, "retry_after": "1"},
    "overloaded-chat": {"status": 503, "retry_after": "1"},
    "patient-chat": {"status": 429, "retry_after": "120"},
    "full-chat": {"status": 503, "retry_after": "1"},
    "breaks-chat": {"error_after": 3},
    "dies-chat": {"die_after": 3},
}


def programs() -> dict[str, Path]:
    """The clients, by the names of their files. Adding one is a file here, and its pins."""
    files = [*(HERE / "python").glob("*.py"), *(HERE / "node").glob("*.mjs")]
    return {path.stem: path for path in sorted(files) if path.stem not in {"__init__", "cells"}}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-table", action="store_true", help="write docs/compatibility.md instead of comparing it")


@pytest.fixture(scope="module")
def gateway(stage: Stage, fake: FakeInferenceServer, django_db_blocker: DjangoDbBlocker) -> Iterator[str]:  # noqa: F811
    """The base URL of a running gateway that serves the scripted models, too."""
    from gateway.asgi import application

    with django_db_blocker.unblock():
        backend = Backend.objects.get(name="gw-fake")
        for name in SCRIPTS:
            model = HostedModel.objects.create(public_name=name)
            Deployment.objects.create(hosted_model=model, backend=backend, backend_name=name)
        fake.scripts.update(SCRIPTS)
        worker = process_of_worker()
        try:
            with serving(Arrivals(application)) as url:
                yield url
        finally:
            worker.terminate()
            worker.wait(20)
            Batch.objects.all().delete()
            StoredFile.objects.all().delete()


@pytest.fixture(scope="module")
def reports(
    gateway: str,
    stage: Stage,  # noqa: F811
    django_db_blocker: DjangoDbBlocker,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Report]:
    """What each client came to."""
    lyceum.set_up_clients()

    def mint(**terms: Any) -> str:
        return mint_key(project=stage.project, name="contract", by=stage.ada, terms=Terms(**terms))[1]

    def environment(name: str) -> dict[str, str]:
        return {
            "HOME": str(tmp_path_factory.mktemp(name)),
            "LANG": "C.UTF-8",
            "PATH": os.environ["PATH"],
            "CONTRACT_URL": gateway,
            "CONTRACT_KEY": mint(),
            "CONTRACT_LIMITED_KEY": mint(requests_per_minute=1),
            "CONTRACT_POOR_KEY": mint(monthly_budget_nano=1),
        }

    clients = programs()
    with django_db_blocker.unblock():
        environments = [environment(name) for name in clients]
    with ThreadPoolExecutor(SIDE_BY_SIDE) as threads:
        return dict(zip(clients, threads.map(run, clients.values(), environments), strict=True))


def run(program: Path, environment: dict[str, str]) -> Report:
    """Run a client to its end."""
    done = subprocess.run(
        command(program),
        cwd=lyceum.ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    if done.returncode:
        return Report(program.stem, "", {}, {"to begin with": done.stdout + done.stderr})
    return Report(**json.loads(done.stdout.splitlines()[-1]))


def command(program: Path) -> list[str]:
    """The program in its environment: the one all share, or one of its own if there is a file of pins by its name."""
    if program.suffix == ".mjs":
        return [str(lyceum.find_npm()[1] / "node"), str(program)]
    own = lyceum.ROOT / f"requirements-contract-{program.stem}.txt"
    shared = lyceum.ROOT / "requirements-contract.txt"
    python = lyceum.python_apart(own if own.exists() else shared)
    return [str(python), "-m", f"{__package__}.python.{program.stem}"]
