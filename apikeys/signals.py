"""What apikeys announces to the apps above it."""

from django.dispatch import Signal

key_changed = Signal()
"""Sent after commit when a key was made, revoked or had its limits changed, with `digest`."""
