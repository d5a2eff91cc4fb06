from collections.abc import Iterable
from typing import Any

from django import forms
from django.utils.functional import Promise
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _

from accounts.models import Organization
from accounts.roles import Right, Rights, Role

MEANINGS = {
    Role.OWNER: _("everything, and makes other owners"),
    Role.ADMIN: _("manages people, projects and keys; makes no owners"),
    Role.MEMBER: _("works in every open project: makes keys, sees usage"),
    Role.VIEWER: _("looks at open projects, their keys and usage; changes nothing"),
    Role.BILLING: _("sees usage and cost of every project, and nothing else"),
    Role.GUEST: _("only what they are added to, project by project"),
}


def role_choices(roles: Iterable[Role]) -> list[tuple[str, str | Promise]]:
    return [
        (role.value, format_lazy(_("{role}: {meaning}"), role=role.label, meaning=MEANINGS[role])) for role in roles
    ]


def roles_to_give(rights: Rights) -> list[Role]:
    """The roles that somebody with these rights may give."""
    return [role for role in Role if role != Role.OWNER or Right.OWN in rights]


class OrganizationForm(forms.ModelForm[Organization]):
    class Meta:
        model = Organization
        fields = ["name"]
        labels = {"name": _("Name")}
        help_texts = {"name": _("That of your company, team, course or group. Everybody in it reads it.")}


class OrganizationField(forms.CharField):
    """An organization of the whole portal, by its id or by a name that no other has: for staff."""

    def __init__(self) -> None:
        super().__init__(
            label=_("Organization"),
            max_length=80,
            widget=forms.TextInput(attrs={"spellcheck": "false", "autocomplete": "off"}),
            help_text=_("Its name, or its id, org_…, which stands in its settings."),
        )

    def clean(self, value: Any) -> Organization:
        named: str = super().clean(value)
        found = Organization.objects.filter(public_id=named).first()
        if found is not None:
            return found
        # Names are chosen by people: whoever takes another's is not to be taken for them.
        homes = list(Organization.objects.filter(name__iexact=named)[:2])
        if not homes:
            raise forms.ValidationError(_("No organization has this name or id."))
        if len(homes) > 1:
            raise forms.ValidationError(_("Several organizations have this name. Enter the id of the one you mean."))
        return homes[0]


class RoleForm(forms.Form):
    """What a member may do, among the roles that whoever asks may give."""

    role = forms.TypedChoiceField(label=_("Role"), coerce=Role, widget=forms.RadioSelect)

    def __init__(self, *args: object, roles: Iterable[Role], **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.fields["role"].choices = role_choices(roles)  # type: ignore[attr-defined]
