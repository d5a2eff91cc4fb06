"""Milliseconds of pages, asked for in turns: a busy machine hits all of them."""

import time
from collections.abc import Hashable, Mapping
from typing import TypeVar

from django.conf import settings
from django.db import connection
from django.test import Client

Name = TypeVar("Name", bound=Hashable)
ROUNDS = 40


def best_of_rounds(pages: Mapping[Name, tuple[Client, str]]) -> dict[Name, float]:
    """Each page's best of some rounds, over tables whose statistics are up to date."""
    settings.ALLOWED_HOSTS = ["*"]
    with connection.cursor() as cursor:
        # As PostgreSQL does by itself within a minute.
        cursor.execute("ANALYZE")
    best = dict.fromkeys(pages, float("inf"))
    for _round in range(ROUNDS):
        for name, (client, address) in pages.items():
            started = time.perf_counter()
            assert client.get(address).status_code == 200
            best[name] = min(best[name], (time.perf_counter() - started) * 1000)
    return best
