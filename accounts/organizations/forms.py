from collections.abc import Iterable

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


class RoleForm(forms.Form):
    """What a member may do, among the roles that whoever asks may give."""

    role = forms.TypedChoiceField(label=_("Role"), coerce=Role, widget=forms.RadioSelect)

    def __init__(self, *args: object, roles: Iterable[Role], **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.fields["role"].choices = role_choices(roles)  # type: ignore[attr-defined]
