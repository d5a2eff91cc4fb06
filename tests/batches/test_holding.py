"""What a person's copy holds of their files and batches, and what is gone with their account."""

from typing import Any

import openai
import pytest
from django.conf import LazySettings

from accounts.models import Membership, User
from accounts.roles import Role
from apikeys.services import mint_key
from batches.holding import erase, export
from batches.models import Batch, MadeOnce, StoredFile
from tests.batches.conftest import line, make
from tests.batches.test_files import on_disk
from tests.gateway.conftest import Stage


@pytest.fixture
def ben(stage: Stage) -> Any:
    user = User.objects.create_user("ben@batches.example", name="Ben")
    Membership.objects.create(organization=stage.project.organization, user=user, role=Role.MEMBER)
    yield user
    user.delete()


def test_it_works(url: str, client: openai.OpenAI, stage: Stage, ben: User, settings: LazySettings) -> None:
    of_ada = make(client, [line("of ada")])
    secret = mint_key(project=stage.project, name="ben's", by=ben)[1]
    with openai.OpenAI(base_url=url, api_key=secret, max_retries=0) as his:
        of_ben = make(his, [line("of ben")], metadata={"note": "private"}, extra_headers={"Idempotency-Key": "of ben"})

    written = {document.path: "".join(document.pieces) for document in export(ben)}
    assert of_ben.id in written["batches/batches.json"]
    assert "private" in written["batches/batches.json"]
    assert "of ben" in written["batches/idempotency_keys.json"]
    assert of_ben.input_file_id in written["batches/files.json"]
    assert of_ada.id not in "".join(written.values())

    erase(ben)
    erase(ben)
    assert [batch.public_id for batch in Batch.objects.all()] == [of_ada.id]
    assert [file.public_id for file in StoredFile.objects.all()] == [of_ada.input_file_id]
    assert not MadeOnce.objects.exists()
    assert len(on_disk(settings)) == 1
