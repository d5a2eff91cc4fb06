"""Every sample of every tutorial is run as a reader would run it, against a gateway on a real port."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from apikeys.services import mint_management_key
from apikeys.terms import Terms
from batches.models import Batch, StoredFile
from docs_site.samples import Fence, Values
from docs_site.tutorials import tutorial
from tests.batches.conftest import process_of_worker
from tests.docs_site.samples_runner import Sample, SampleError, every_sample, run
from tests.gateway.conftest import Stage, db, fake, mint, secret, stage, url  # noqa: F401


@pytest.fixture
def values(url: str) -> Values:  # noqa: F811
    """The portal as the samples are told it."""
    return Values(url.removesuffix("/v1"), chat_model="fake-chat", embedding_model="fake-embed", has_models=True)


def unique_samples() -> list[Sample]:
    """Each sample once: some read the same in every language."""
    return list({(sample.fence.language, sample.fence.code): sample for sample in every_sample()}.values())


@pytest.fixture(scope="module")
def worker(stage: Stage) -> Iterator[None]:  # noqa: F811
    """Works on what the samples hand in; only those of one page need it."""
    process = process_of_worker()
    yield
    process.terminate()
    process.wait(20)
    Batch.objects.all().delete()
    StoredFile.objects.all().delete()


@pytest.mark.parametrize("sample", unique_samples(), ids=str)
def test_it_works(
    sample: Sample,
    values: Values,
    secret: str,  # noqa: F811
    stage: Stage,  # noqa: F811
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    if sample.page.slug == "batches":
        request.getfixturevalue("worker")
    _key, management_key = mint_management_key(owner=stage.ada, name="dashboard", terms=Terms(is_read_only=True))
    run(sample, values=values, key=secret, folder=tmp_path, management_key=management_key)


def test_every_way_to_write_a_sample_is_run_in_every_language() -> None:
    seen = {(sample.page.language, sample.page.slug, sample.fence.language) for sample in every_sample()}
    assert len(seen) == 2 * 6 * 3


@pytest.mark.parametrize(
    ("code", "expected"),
    [("exit 3", "ended with 3"), ("echo nothing of the kind", "nothing of the kind")],
)
def test_a_sample_that_does_not_do_what_it_says_fails(
    code: str,
    expected: str,
    values: Values,
    secret: str,  # noqa: F811
    tmp_path: Path,
) -> None:
    page = tutorial("quickstart", "en")
    assert page
    broken = Sample(page, 1, Fence("bash", code, {"expect": "never printed"}))
    with pytest.raises(SampleError, match=expected):
        run(broken, values=values, key=secret, folder=tmp_path)
