"""What Celery adds to a run of the playground: from the row to the worker, and to the first word."""

import statistics
import time

from accounts.models import Project, User
from playground.models import Run
from playground.services import start_run

RUNS = 60


def main() -> None:
    """Print the section of the page."""
    user = User.objects.get()
    project = Project.objects.for_member(user)[0]
    hops, words = [], []
    for number in range(RUNS):
        run = start_run(
            user=user,
            project=project,
            model="fake-chat",
            messages=[{"role": "user", "content": "Say hello."}],
            parameters={"max_tokens": 4},
        )
        deadline = time.monotonic() + 30
        while not run.is_finished and time.monotonic() < deadline:
            time.sleep(0.01)
            run = Run.objects.get(pk=run.pk)
        assert run.started_at is not None, run.status
        assert run.first_token_at is not None, run.error_code
        # The first ones wait for a worker that starts.
        if number >= 10:
            hops.append((run.started_at - run.created_at).total_seconds() * 1000)
            words.append((run.first_token_at - run.created_at).total_seconds() * 1000)
    print(
        "A run is a row and a Celery message before it is a call. From the row to the worker it takes "
        f"{statistics.median(hops):.1f} ms\nat the median, to the first word {statistics.median(words):.1f} ms."
    )
