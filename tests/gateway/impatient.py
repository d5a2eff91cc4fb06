"""The gateway's connections with less patience, for tests that wait for its end."""

from gateway import connections


class Connection(connections.Connection):
    patience_seconds = 0.5
    slack_seconds = 1.5
    reader_patience_seconds = 1.0
