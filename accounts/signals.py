"""What accounts announces to the apps above it."""

from django.dispatch import Signal

user_signed_up = Signal()
"""Sent once in the transaction that made a user and their personal organization, with `user`."""

user_suspension_changed = Signal()
"""Sent after a user was suspended or readmitted, with `user`."""

operator_arrived = Signal()
"""Sent once the first staff account is made, with `user` and `wants_sample_data`."""
