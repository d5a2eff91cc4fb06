"""What apikeys announces to the apps above it."""

from django.dispatch import Signal

key_changed = Signal()
"""Sent after commit when keys or secrets of theirs were made, changed or ended: with the secrets' `digests`."""

key_created = Signal()
"""A key was made: with `key` and `by`. Sent inside the transaction, as are those below."""

key_revoked = Signal()
"""A key was revoked: with `key` and `by`, None for the portal itself."""

key_leaked = Signal()
"""A key was seen where it should not be: with `key` and `by`, None for the portal itself."""
