"""Database connections, while something slow is waited for."""

from django.db import connection


def give_back_connection() -> None:
    """Leave this thread's connection to others until it is needed again; one with a transaction in hand is kept."""
    if not connection.in_atomic_block:
        connection.close()
