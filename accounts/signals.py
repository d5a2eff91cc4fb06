"""What accounts announces to the apps above it."""

from django.dispatch import Signal

operator_arrived = Signal()
"""Sent once the first staff account is made, with `user` and `wants_sample_data`."""
