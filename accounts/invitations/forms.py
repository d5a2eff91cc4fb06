import re
from collections.abc import Iterable
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.utils.translation import gettext_lazy as _

from accounts.invitations.links import MOST_PLACES, PROJECT_ROLES, ROLES
from accounts.models import Organization, Project
from accounts.organizations.forms import role_choices
from accounts.projects.forms import EndingForm, LastDayField, project_role_choices
from accounts.roles import ProjectRole, Role

MOST_ADDRESSES = 50


def live_projects(organization: Organization) -> Any:
    return Project.objects.filter(organization=organization, archived_at=None).order_by("name", "pk")


class InvitationForm(forms.Form):
    emails = forms.CharField(
        label=_("E-mail addresses"),
        widget=forms.Textarea(attrs={"rows": 3}),
        max_length=10_000,
        help_text=_("One or many: one on each line, or with commas between them. Each gets a link that works 7 days."),
    )
    role = forms.TypedChoiceField(label=_("Role"), coerce=Role, widget=forms.RadioSelect, initial=Role.MEMBER)
    projects = forms.ModelMultipleChoiceField(
        label=_("Add to these projects"),
        queryset=Project.objects.none(),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=_("Guests see only the projects they are added to. Others take part in every open one."),
    )
    project_role = forms.TypedChoiceField(
        label=_("Role in these projects"),
        coerce=ProjectRole,
        choices=project_role_choices,
        required=False,
        empty_value=None,
        initial=ProjectRole.MEMBER,
    )

    def __init__(self, *args: Any, organization: Organization, roles: Iterable[Role], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["role"].choices = role_choices(roles)  # type: ignore[attr-defined]
        self.fields["projects"].queryset = live_projects(organization)  # type: ignore[attr-defined]

    def clean_emails(self) -> list[str]:
        found = [one for one in re.split(r"[\s,;]+", self.cleaned_data["emails"]) if one]
        if len(found) > MOST_ADDRESSES:
            raise ValidationError(_("At most %(count)s addresses at a time."), params={"count": MOST_ADDRESSES})
        for address in found:
            try:
                validate_email(address)
            except ValidationError as error:
                raise ValidationError(
                    _("%(address)s is no e-mail address."), params={"address": address[:100]}
                ) from error
        # Each once, in the order in which they stand there.
        return list(dict.fromkeys(address.lower() for address in found))


class JoinLinkForm(EndingForm):
    name = forms.CharField(label=_("Name"), max_length=80, help_text=_("For whom it is. Only those who manage see it."))
    role = forms.TypedChoiceField(
        label=_("Role"), coerce=Role, choices=lambda: role_choices(ROLES), widget=forms.RadioSelect, initial=Role.MEMBER
    )
    project = forms.ModelChoiceField(
        label=_("Add to a project"), queryset=Project.objects.none(), required=False, empty_label=_("No project")
    )
    project_role = forms.TypedChoiceField(
        label=_("Role in the project"),
        coerce=ProjectRole,
        choices=lambda: project_role_choices(PROJECT_ROLES),
        required=False,
        empty_value=None,
        initial=ProjectRole.MEMBER,
    )
    most_joins = forms.IntegerField(
        label=_("Places"), min_value=1, max_value=MOST_PLACES, initial=20, help_text=_("How many people it lets in.")
    )
    ends_at = LastDayField(label=_("Last day"), help_text=_("After it nobody comes in. Who is in stays."))

    def __init__(self, *args: Any, organization: Organization, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["project"].queryset = live_projects(organization)  # type: ignore[attr-defined]

    def answers(self) -> dict[str, Any]:
        """What the service takes: a role in a project only where there is a project."""
        answers = dict(self.cleaned_data)
        if answers["project"] is None:
            answers["project_role"] = None
        else:
            answers["project_role"] = answers["project_role"] or ProjectRole.MEMBER
        return answers
