from collections.abc import Iterator

import pytest
from django.conf import LazySettings

from accounts.models import Organization, Project
from tests.fakes.receiver import Receiver, receiver


@pytest.fixture
def organization(project: Project) -> Organization:
    """Ada's organization."""
    return project.organization


@pytest.fixture
def server(settings: LazySettings) -> Iterator[Receiver]:
    """A receiver on this machine, in a network that the operator opened."""
    settings.OUTBOUND_NETWORKS = ["127.0.0.0/8"]
    with receiver() as told:
        yield told
