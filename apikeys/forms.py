from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Literal

from django import forms
from django.http import QueryDict
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from accounts.models import Plan, ServiceAccount
from apikeys.history import in_words
from apikeys.models import ApiKey, KeyMakers, KeyPolicy
from apikeys.terms import ENDPOINTS_OF_KEYS, TERMS, PolicyViolationError, Terms
from catalog.models import HostedModel
from common.forms import DollarsField, EditForm, new_submission
from common.limits import ALERTS, LIMITS, default_alerts, limit_field
from common.moments import check_nearness
from common.networks import canonical, contains

MOST_NETWORKS = 100
NEW = "new"
"""The choice of a service account that is yet to be made; the others are ids."""
OVERLAPS = (
    (0, _("Not at all: it ends at once")),
    (15, _("15 minutes")),
    (60, _("1 hour")),
    (6 * 60, _("6 hours")),
    (24 * 60, _("24 hours")),
    (7 * 24 * 60, _("7 days")),
)
"""How long an old secret may go on beside its successor, in minutes."""
OLDER = {
    "shorten": _(
        "Bring them in line: each ends when the rule says, or in a week where that is later. Its maker is told."
    ),
    "keep": _("Leave them as they are: they go on, and Key health lists them."),
}
LEAKED = {"revoke": _("Revoke it at once"), "flag": _("Only flag it, and tell its owners")}
POLICY = ("longest_lifetime_days", "default_budget_nano", "allowed_networks", "makers", "revokes_leaked")


class NetworksField(forms.CharField):
    """Addresses and networks in CIDR notation, one a line; a tuple of them as they are stored."""

    widget = forms.Textarea(attrs={"rows": 3, "spellcheck": "false", "placeholder": "203.0.113.0/24\n2001:db8::/32"})

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list | tuple) else value

    def clean(self, value: Any) -> Any:
        networks = []
        for line in super().clean(value).replace(",", "\n").split():
            try:
                networks.append(canonical(line))
            except ValueError:
                raise forms.ValidationError(
                    _("“%(line)s” is no IP address and no network such as 203.0.113.0/24."), params={"line": line[:60]}
                ) from None
        if len(networks) > MOST_NETWORKS:
            raise forms.ValidationError(_("At most %(most)s networks."), params={"most": MOST_NETWORKS})
        return tuple(dict.fromkeys(networks))


class KeyForm(EditForm):
    """A key of a project: what it is called, and (all of it optional) what it is held to."""

    name = forms.CharField(
        label=_("Name"), max_length=80, help_text=_("What will use it, such as “laptop” or “nightly evaluation”.")
    )
    description = forms.CharField(label=_("Description"), max_length=200, required=False)
    allowed_models = forms.MultipleChoiceField(
        label=_("Models"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=_("None chosen: every model."),
    )
    allowed_endpoints = forms.MultipleChoiceField(
        label=_("Endpoints"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        choices=[(path, f"/v1/{path}") for path in ENDPOINTS_OF_KEYS],
        help_text=_("None chosen: every endpoint. The list of models can always be read."),
    )
    allowed_networks = NetworksField(label=_("IP addresses"), required=False)
    expires_at = forms.DateTimeField(
        label=_("Expires"),
        required=False,
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
        validators=[check_nearness],
    )
    service_account = forms.ChoiceField(
        label=_("Whose key"),
        required=False,
        help_text=_(
            "A key of a service account belongs to a program in the project, and goes on when you leave. Yours stops "
            "with your place in the project."
        ),
    )
    new_service_account = forms.CharField(
        label=_("Name of a new service account"),
        max_length=80,
        required=False,
        help_text=_("Only where the key is of a new one."),
    )
    submission = forms.CharField(widget=forms.HiddenInput, max_length=40, required=False)

    who: tuple[str, ...] = ("service_account", "new_service_account")
    what: tuple[str, ...] = ("allowed_models", "allowed_endpoints")
    where = ("allowed_networks", "expires_at")
    how_much = (*LIMITS, ALERTS)

    def __init__(
        self,
        data: QueryDict | None = None,
        *,
        key: ApiKey | None = None,
        policy: KeyPolicy | None = None,
        plan: Plan | None = None,
        address: str = "",
        accounts: Iterable[ServiceAccount] | None = None,
        service_account: str = "",
    ) -> None:
        """`accounts` are the service accounts that it may be for; None where it may be for none, not even a new one."""
        self.key, self.policy = key, policy
        super().__init__(data, initial=self._initial())
        for name in self.how_much:
            self.fields[name] = limit_field(name)
        self.remember(
            {name: getattr(key, name) for name in ("name", *TERMS)} if key else {}, of=key.public_id if key else ""
        )
        if key is None:
            del self.fields["shown"]
        if accounts is None:
            for name in self.who:
                del self.fields[name]
        else:
            self._offer_accounts(accounts, service_account)
        self._offer_models(plan)
        self.fields["allowed_networks"].help_text = self._about_networks(address)
        self.fields["expires_at"].help_text = self._about_expiry()

    def _offer_accounts(self, accounts: Iterable[ServiceAccount], chosen: str) -> None:
        # Chosen and not typed: a slip would make a second program of nearly the same name.
        field = self.fields["service_account"]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101 - says it to the type checker
        existing = [(account.public_id, account.name) for account in accounts]
        field.choices = [
            ("", _("Mine")),
            *([(_("Of a service account"), existing)] if existing else []),
            (NEW, _("Of a new service account")),
        ]
        field.initial = chosen

    def _offer_models(self, plan: Plan | None) -> None:
        models = HostedModel.objects.offered().in_plan(plan)
        offered = list(models.order_by("public_name").values_list("public_name", flat=True))
        # One that was chosen and is no longer offered stays chosen until somebody takes it out.
        chosen = [*self.key.allowed_models, *self.was_shown.get("allowed_models", [])] if self.key else []
        field = self.fields["allowed_models"]
        assert isinstance(field, forms.MultipleChoiceField)  # noqa: S101 - says it to the type checker
        field.choices = [(name, name) for name in dict.fromkeys([*offered, *chosen])]

    def _initial(self) -> dict[str, Any]:
        if self.key is None:
            latest = self.policy.latest_expiry(timezone.now()) if self.policy else None
            budget = self.policy.default_budget_nano if self.policy else None
            return {
                "submission": new_submission(),
                "expires_at": _to_the_minute(latest),
                "monthly_budget_nano": budget,
                ALERTS: default_alerts(),
            }
        key = self.key
        names = (*self.base_fields.keys() - {"submission", "shown", *self.who}, *self.how_much)
        return {name: getattr(key, name) for name in names} | {"expires_at": _to_the_minute(key.expires_at)}

    def _about_networks(self, address: str) -> str:
        text = gettext("One address or network a line, IPv4 or IPv6. Empty: from anywhere.")
        if self.policy is not None and self.policy.allowed_networks:
            text = gettext("One address or network a line, within what the organization allows: %(networks)s.") % {
                "networks": ", ".join(self.policy.allowed_networks)
            }
        if not address:
            return text
        return gettext("%(about)s You are at %(address)s now.") % {"about": text, "address": address}

    def _about_expiry(self) -> str:
        days = self.policy.longest_lifetime_days if self.policy else None
        if days is None:
            return gettext("In your time zone. Empty: never.")
        return gettext("In your time zone. The organization lets a key live for at most %(days)s days.") % {
            "days": days
        }

    def clean_new_service_account(self) -> str:
        name: str = self.cleaned_data["new_service_account"]
        is_new = self.cleaned_data.get("service_account") == NEW
        if is_new and not name:
            raise forms.ValidationError(_("Name the new service account."))
        if name and not is_new and "service_account" in self.cleaned_data:
            raise forms.ValidationError(
                _("The key is not of a new service account. Leave this empty, or choose “Of a new service account”.")
            )
        return name

    def clean_expires_at(self) -> datetime | None:
        moment: datetime | None = self.cleaned_data["expires_at"]
        kept = parse_datetime(self.was_shown.get("expires_at") or "")
        if moment == _to_the_minute(kept):
            return kept
        if moment is not None and moment <= timezone.now():
            raise forms.ValidationError(_("Choose a time that is still to come."))
        return moment

    def _values(self) -> dict[str, Any]:
        """What the valid form says, by the names of the terms; those it does not ask for are not there."""
        values = dict(self.cleaned_data)
        for name in ("name", "submission", "shown", *self.who):
            values.pop(name, None)
        return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}

    def terms(self) -> Terms:
        """What the valid form says, as the terms of a new key."""
        return Terms(**self._values())

    def changes(self) -> dict[str, Any]:
        """What was changed of the key's terms and its name."""
        return self.edited({"name": self.cleaned_data["name"], **self._values()})

    def in_words(self, name: str, value: Any) -> str:
        return in_words(name, value)

    def refuse(self, violation: PolicyViolationError) -> None:
        """Show what the policy forbids beside the field that would mend it."""
        for name, fault in violation.faults.items():
            self.add_error(name, fault)

    @property
    def is_restricting(self) -> bool:
        """Whether the part that is folded away holds something to look at."""
        folded = [name for name in (*self.who, *self.what, *self.where, *self.how_much) if name in self.fields]
        # There are alerts unless somebody takes them out.
        return any(self[name].errors or (self[name].value() and name != ALERTS) for name in folded)

    def _fields_of(self, names: tuple[str, ...]) -> list[forms.BoundField]:
        return [self[name] for name in names if name in self.fields]

    @property
    def groups(self) -> list[tuple[Any, list[forms.BoundField]]]:
        """The folded part, by what each piece is about."""
        groups = [
            (_("Whose it is"), self._fields_of(self.who)),
            (_("What it may use"), self._fields_of(self.what)),
            (_("From where, and until when"), self._fields_of(self.where)),
            (_("How much"), self._fields_of(self.how_much)),
        ]
        return [(title, fields) for title, fields in groups if fields]


class ManagementKeyForm(KeyForm):
    """A person's key to the REST API."""

    is_read_only = forms.BooleanField(
        label=_("Reads only"), required=False, help_text=_("Whatever changes something is refused.")
    )
    what = ("is_read_only",)

    def __init__(self, data: QueryDict | None = None, *, key: ApiKey | None = None, address: str = "") -> None:
        super().__init__(data, key=key, address=address)
        for name in ("allowed_models", "allowed_endpoints", *self.how_much):
            del self.fields[name]


def _to_the_minute(moment: datetime | None) -> datetime | None:
    # The control has no seconds: with them the form would ask for the next minute, which a policy may forbid.
    return moment.replace(second=0, microsecond=0) if moment else None


class RotateForm(forms.Form):
    overlap = forms.TypedChoiceField(
        label=_("The old secret goes on for"), choices=OVERLAPS, coerce=int, initial=24 * 60
    )
    submission = forms.CharField(widget=forms.HiddenInput, max_length=40, required=False, initial=new_submission)


class PolicyForm(EditForm):
    """What an organization demands of its keys."""

    longest_lifetime_days = forms.IntegerField(
        label=_("Longest lifetime"),
        required=False,
        min_value=1,
        max_value=3650,
        help_text=_(
            "In days, from when a secret is made. Empty: a key may live forever. When you save it you are asked about "
            "keys that exist and live longer."
        ),
    )
    older = forms.ChoiceField(
        label=_("Keys that exist and live longer"), required=False, choices=OLDER, widget=forms.RadioSelect
    )
    default_budget = DollarsField(
        label=_("Default budget per month"),
        required=False,
        help_text=_(
            "In US dollars. What a new key is given unless its maker says otherwise. Keys that exist stay as they are."
        ),
    )
    allowed_networks = NetworksField(
        label=_("IP addresses"),
        required=False,
        help_text=_(
            "One address or network a line. Calls from elsewhere are refused from the moment you save, with every key, "
            "also those that exist. Empty: from anywhere."
        ),
    )
    outside = forms.BooleanField(label=_("Refuse calls from where I am as well"), required=False)
    makers = forms.ChoiceField(
        label=_("Who may make keys"),
        choices=KeyMakers,
        initial=KeyMakers.MEMBERS,
        help_text=_("Keys that others have made go on, and may be rotated by them."),
    )
    leaked = forms.ChoiceField(
        label=_("A key that is found in public"),
        choices=LEAKED,
        initial="revoke",
        help_text=_("Holds for keys that exist as well."),
    )

    fields_of = {"default_budget_nano": "default_budget", "revokes_leaked": "leaked"}

    def __init__(self, data: QueryDict | None = None, *, policy: KeyPolicy, address: str = "") -> None:
        """`address` is where whoever fills it in is."""
        self.policy, self.address = policy, address
        leaked: Literal["revoke", "flag"] = "revoke" if policy.revokes_leaked else "flag"
        initial = {
            "longest_lifetime_days": policy.longest_lifetime_days,
            "default_budget": policy.default_budget_nano,
            "allowed_networks": policy.allowed_networks,
            "makers": policy.makers,
            "leaked": leaked,
        }
        super().__init__(data, initial=initial)
        self.remember({name: getattr(policy, name) for name in POLICY}, of=str(policy.organization_id))

    @property
    def asked(self) -> list[forms.BoundField]:
        """The fields to show: what a rule would do to older keys or to who sets it is asked before it is saved."""
        return [field for field in self if field.name not in ("older", "outside") or field.data or field.errors]

    def clean_outside(self) -> bool:
        is_meant: bool = self.cleaned_data["outside"]
        networks: tuple[str, ...] = self.cleaned_data.get("allowed_networks") or ()
        is_new = networks and list(networks) != self.was_shown["allowed_networks"]
        if is_new and self.address and not is_meant and not contains(networks, self.address):
            raise forms.ValidationError(
                _(
                    "Nothing is saved yet: you are at %(address)s, which is in none of these networks. Add it to them, "
                    "or say that this is meant."
                ),
                params={"address": self.address},
            )
        return is_meant

    def clean(self) -> dict[str, Any]:
        values = self.cleaned_data
        days = values.get("longest_lifetime_days")
        if days is None or days == self.was_shown["longest_lifetime_days"] or values.get("older"):
            return values
        keys = ApiKey.objects.of_organization(self.policy.organization)
        count = keys.outliving(timedelta(days=days)).count()
        if count:
            fault = ngettext(
                "Nothing is saved yet: %(count)s key lives longer than %(days)s days. Choose what becomes of it.",
                "Nothing is saved yet: %(count)s keys live longer than %(days)s days. Choose what becomes of them.",
                count,
            )
            self.add_error("older", fault % {"count": count, "days": days})
        return values

    def changes(self) -> dict[str, Any]:
        """What was changed, under the names and in the units of `services.change_policy`."""
        values = self.cleaned_data
        return self.edited(
            {
                "longest_lifetime_days": values["longest_lifetime_days"],
                "default_budget_nano": values["default_budget"],
                "allowed_networks": values["allowed_networks"],
                "makers": KeyMakers(values["makers"]),
                "revokes_leaked": values["leaked"] == "revoke",
            }
        )

    def in_words(self, name: str, value: Any) -> str:
        return in_words(name, value)
