"""What accounts announces to the apps above it. All are sent inside the transaction that makes them true."""

from django.dispatch import Signal

operator_arrived = Signal()
"""Sent once the first staff account is made, with `user` and `wants_sample_data`."""

member_joined = Signal()
"""Somebody became a member, with `membership`."""

owner_made = Signal()
"""A member became an owner of their organization, with `membership` and `by`, who made them so."""

rights_changed = Signal()
"""Somebody may do more or less than before, or nothing any more: with `user` and `organization`, where it changed.

Their role or their projects changed, they left or were removed, or (`organization` is None) their account was switched
off or on. What rests on their rights must be looked at anew.
"""

terms_changed = Signal()
"""The terms of use were published (`user` is None) or accepted by `user`: who may use a key must be looked at anew."""

project_changed = Signal()
"""A project was archived or restored, opened to its organization or closed, or its end moved: with `project`.

Its keys must be looked at anew.
"""

limits_changed = Signal()
"""What an organization, a project, a member, a cohort, a key, a model or all on a plan may use was set anew: with
`limited`, the row of it. So it was for an organization that came onto another plan."""

time_zone_changing = Signal()
"""An `organization` wishes for another `time_zone`, in which its days begin. Who refuses raises RefusedError."""

service_account_removed = Signal()
"""A service account was removed for good, with `service_account` and `by`: none of its keys may work any more."""
