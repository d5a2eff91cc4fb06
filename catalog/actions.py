"""What acts on the catalog are called in the audit log."""

from django.utils.translation import gettext_lazy as _

from accounts.auditing.actions import Words

ACTIONS: dict[str, Words] = {
    "backend.connected": _("connected the backend %(target)s"),
    "backend.changed": _("changed the backend %(target)s"),
    "backend.enabled": _("had calls sent to the backend %(target)s again"),
    "backend.disabled": _("had no more calls sent to the backend %(target)s"),
    "backend.removed": _("removed the backend %(target)s"),
    "deployment.enabled": _("had calls for %(target)s sent to a backend again"),
    "deployment.disabled": _("had no more calls for %(target)s sent to a backend"),
    "deployment.changed": _("changed how calls go to %(target)s"),
    "model.changed": _("changed the model %(target)s"),
    "model.limits_changed": _("changed the limits of the model %(target)s"),
    "model.price_changed": _("changed the price of the model %(target)s"),
}
