from decimal import Decimal
from typing import Any, cast

from django import forms
from django.conf import settings
from django.core.validators import validate_slug
from django.http import QueryDict
from django.utils.translation import gettext_lazy as _

from catalog.discovery import DiscoveryError, is_name, normalize
from catalog.models import USES, Backend, BackendKind, Deployment, Fault, HostedModel, ModelAlias
from catalog.services import RESERVED_NAMES
from common.http import origin, validate_base_url
from common.money import dollars, nano_from_dollars

ADDRESS_ATTRIBUTES = {
    "inputmode": "url",
    "placeholder": "http://gpu-1:8000/v1",
    "autocomplete": "off",
    "spellcheck": "false",
}
# The field outlives the form's replacement by its answer: what was typed into it is in no page the server sends.
CREDENTIAL_ATTRIBUTES = {"autocomplete": "new-password", "spellcheck": "false", "hx-preserve": "true"}
MOST_EXPENSIVE_DOLLARS = Decimal(1_000_000)


class AddressForm(forms.Form):
    """Where an inference server is, and how to be let in."""

    base_url = forms.CharField(
        label=_("Address"),
        max_length=400,
        widget=forms.TextInput(attrs=ADDRESS_ATTRIBUTES),
        help_text=_("What an SDK takes as its base URL, with /v1 at the end or without."),
    )
    credential = forms.CharField(
        label=_("Credential"),
        required=False,
        max_length=4000,
        widget=forms.PasswordInput(attrs=CREDENTIAL_ATTRIBUTES),
        help_text=_("The server’s API key, if it asks for one. Stored encrypted, and never shown again."),
    )
    kind = forms.ChoiceField(
        label=_("Server"), required=False, choices=[("", _("Detect")), *BackendKind.choices], initial=""
    )

    def clean_base_url(self) -> str:
        url = normalize(self.cleaned_data["base_url"])
        validate_base_url(url)
        return url

    def clean_credential(self) -> str:
        credential: str = self.cleaned_data["credential"].strip()
        if not credential.isprintable():
            raise forms.ValidationError(_("A credential is one line of printable characters."))
        return credential

    def clean_kind(self) -> BackendKind | None:
        return BackendKind(self.cleaned_data["kind"]) if self.cleaned_data["kind"] else None

    def refuse(self, error: DiscoveryError) -> None:
        """Show what is wrong with the server beside the field that would mend it."""
        field = "credential" if error.fault in {Fault.UNAUTHORIZED, Fault.UNDECRYPTABLE} else "base_url"
        self.add_error(field, str(error))


class ConnectForm(AddressForm):
    """A new backend."""

    name = forms.CharField(
        label=_("Name"),
        max_length=60,
        validators=[validate_slug],
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false", "placeholder": "gpu-1"}),
        help_text=_("For you and your colleagues: letters, digits, hyphens and underscores."),
    )
    field_order = ["name", "base_url", "credential", "kind"]

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if name in RESERVED_NAMES:
            raise forms.ValidationError(_("This name is kept for the portal itself. Choose another."))
        if Backend.objects.filter(name=name).exists():
            raise forms.ValidationError(
                _("A backend of this name is connected already. Choose another, or edit that one.")
            )
        return name


class EditBackendForm(AddressForm):
    """A backend that is connected. Without a new credential the stored one stays, for the same server only."""

    forget_credential = forms.BooleanField(label=_("Remove the stored credential"), required=False)
    field_order = ["base_url", "credential", "forget_credential", "kind"]

    def __init__(self, data: QueryDict | None = None, *, backend: Backend) -> None:
        super().__init__(data, initial={"base_url": backend.base_url, "kind": backend.kind})
        self.backend = backend
        self.hint = backend.credential_hint
        if self.hint:
            self.fields["credential"].help_text = _("One is stored (%(hint)s). Leave this empty to keep it.") % {
                "hint": self.hint
            }
        else:
            del self.fields["forget_credential"]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        url = cleaned.get("base_url")
        moves = url is not None and origin(url) != origin(self.backend.base_url)
        if moves and self.hint and not cleaned.get("credential") and not cleaned.get("forget_credential"):
            # Otherwise pointing a backend at a server of one's own would reveal what this page never shows.
            self.add_error(
                "credential", _("The address is another server’s: enter the credential again, or remove it.")
            )
        return cleaned

    def new_credential(self) -> str | None:
        """None means that the stored one stays."""
        if self.cleaned_data.get("forget_credential"):
            return ""
        return self.cleaned_data["credential"] or None


GOING = ("deprecated_on", "retires_on", "successor")
DAY = forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")


def help_of(name: str) -> str:
    """What the field of a hosted model says of itself."""
    return cast(str, HostedModel._meta.get_field(name).help_text)  # type: ignore[union-attr]  # it may be a relation


class ModelForm(forms.Form):
    """What developers read about a hosted model, and what it costs them."""

    description = forms.CharField(
        label=_("Description"),
        required=False,
        max_length=4000,
        widget=forms.Textarea(attrs={"rows": 4}),
        help_text=_("What it is good at, in a sentence or two."),
    )
    input_price = forms.DecimalField(
        label=_("Price of a million input tokens"),
        min_value=0,
        max_value=MOST_EXPENSIVE_DOLLARS,
        decimal_places=9,
        help_text=_("In US dollars. 0 is free."),
    )
    output_price = forms.DecimalField(
        label=_("Price of a million output tokens"),
        min_value=0,
        max_value=MOST_EXPENSIVE_DOLLARS,
        decimal_places=9,
        help_text=_("In US dollars. 0 is free."),
    )
    context_window = forms.IntegerField(
        label=_("Context window"), required=False, min_value=1, max_value=2**31 - 1, help_text=_("In tokens.")
    )
    max_output_tokens = forms.IntegerField(
        label=_("Most tokens in an answer"), required=False, min_value=1, max_value=2**31 - 1
    )
    uses = forms.MultipleChoiceField(
        label=_("Can be used for"), required=False, choices=USES, widget=forms.CheckboxSelectMultiple
    )
    is_visible = forms.BooleanField(
        label=_("Visible to developers"),
        required=False,
        help_text=_("A hidden model is refused as if it did not exist."),
    )
    aliases = forms.CharField(
        label=_("Other names"),
        required=False,
        max_length=4000,
        widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false", "placeholder": "gpt-4o-mini"}),
        help_text=_(
            "One a line. Calls that name one of them go to this model; answers, usage and the models a key may use "
            "know it by its own name."
        ),
    )

    fallback = forms.ModelChoiceField(
        HostedModel.objects.none(),
        label=_("Fallback"),
        required=False,
        empty_label=_("None"),
        help_text=_(
            "The model that answers while no server of this one can, for keys that may use it. Its price counts, and "
            "answers carry its name."
        ),
    )

    deprecated_on = forms.DateField(
        label=_("Deprecated on"), required=False, widget=DAY, help_text=help_of("deprecated_on")
    )
    retires_on = forms.DateField(label=_("Retires on"), required=False, widget=DAY, help_text=help_of("retires_on"))
    successor = forms.ModelChoiceField(
        HostedModel.objects.none(),
        label=_("Successor"),
        required=False,
        empty_label=_("None"),
        help_text=help_of("successor"),
    )

    def __init__(self, data: QueryDict | None = None, *, hosted_model: HostedModel) -> None:
        plain = ("context_window", "max_output_tokens", "uses", "is_visible", "fallback", *GOING)
        initial = {name: getattr(hosted_model, name) for name in plain} | {
            "input_price": f"{dollars(hosted_model.input_price_nano).normalize():f}",
            "output_price": f"{dollars(hosted_model.output_price_nano).normalize():f}",
            "description": hosted_model.about,
            "aliases": "\n".join(hosted_model.other_names),
        }
        super().__init__(data, initial=initial)
        self.hosted_model = hosted_model
        others = HostedModel.objects.exclude(pk=hosted_model.pk).order_by("public_name")
        for name in ("fallback", "successor"):
            self.fields[name].queryset = others  # type: ignore[attr-defined]  # both are choices

    def clean_fallback(self) -> HostedModel | None:
        fallback: HostedModel | None = self.cleaned_data["fallback"]
        if fallback is not None and self.hosted_model.is_fallback_of(fallback):
            raise forms.ValidationError(_("%(name)s falls back on this model.") % {"name": fallback})
        return fallback

    def clean_aliases(self) -> list[str]:
        names = list(dict.fromkeys(line.strip() for line in self.cleaned_data["aliases"].splitlines() if line.strip()))
        if wrong := [name for name in names if not is_name(name)]:
            raise forms.ValidationError(
                _("This is no name for a model: %(name)s. Leave out quotation marks and angle brackets.")
                % {"name": wrong[0]}
            )
        if taken := HostedModel.objects.filter(public_name__in=names).first():
            raise forms.ValidationError(_("A model called %(name)s is hosted here.") % {"name": taken.public_name})
        others = ModelAlias.objects.exclude(hosted_model=self.hosted_model).select_related("hosted_model")
        if other := others.filter(name__in=names).first():
            raise forms.ValidationError(
                _("%(name)s is another name of %(model)s already.") % {"name": other.name, "model": other.hosted_model}
            )
        return names

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        deprecated_on, retires_on = cleaned.get("deprecated_on"), cleaned.get("retires_on")
        if deprecated_on and retires_on and retires_on < deprecated_on:
            self.add_error("retires_on", _("It cannot retire before it is deprecated."))
        return cleaned

    def changes(self) -> dict[str, Any]:
        """The cleaned values under the names and in the units of `services.edit_model`."""
        values, model = dict(self.cleaned_data), self.hosted_model
        if values["description"] == model.about:
            # What was left alone stays as it is stored, which other languages translate.
            values["description"] = model.description
        values["input_price_nano"] = nano_from_dollars(values.pop("input_price"))
        values["output_price_nano"] = nano_from_dollars(values.pop("output_price"))
        return values


TIMEOUTS = {
    "connect_timeout_seconds": "GATEWAY_CONNECT_TIMEOUT_SECONDS",
    "first_byte_timeout_seconds": "GATEWAY_FIRST_BYTE_TIMEOUT_SECONDS",
    "idle_timeout_seconds": "GATEWAY_IDLE_TIMEOUT_SECONDS",
    "total_timeout_seconds": "GATEWAY_TOTAL_TIMEOUT_SECONDS",
}
"""By the field that overrides it, the setting that counts where it is empty."""


class DeploymentForm(forms.ModelForm[Deployment]):
    """How calls for a model go to one backend."""

    class Meta:
        model = Deployment
        fields = ["priority", "weight", "most_in_flight", *TIMEOUTS]

    def __init__(self, data: QueryDict | None = None, *, deployment: Deployment) -> None:
        # Not the row itself, which a form writes to before anybody has agreed.
        super().__init__(data, initial=forms.model_to_dict(deployment, self.Meta.fields))
        for name, setting in TIMEOUTS.items():
            self.fields[name].widget.attrs["placeholder"] = getattr(settings, setting)

    @property
    def shares(self) -> list[forms.BoundField]:
        return [field for field in self if field.name not in TIMEOUTS]

    @property
    def timeouts(self) -> list[forms.BoundField]:
        return [field for field in self if field.name in TIMEOUTS]

    @property
    def has_timeouts(self) -> bool:
        return any(field.errors or field.value() not in (None, "") for field in self.timeouts)
