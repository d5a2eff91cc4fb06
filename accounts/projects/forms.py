from collections.abc import Iterable
from datetime import date, datetime
from typing import Any

from django import forms
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _

from accounts.models import Project, ServiceAccount, last_moment
from accounts.roles import ProjectRole
from common.moments import end_of

MEANINGS = {
    ProjectRole.ADMIN: _("changes the project, its members and everybody's keys"),
    ProjectRole.MEMBER: _("makes keys, sees everybody's keys and usage"),
    ProjectRole.VIEWER: _("sees keys and usage; changes nothing"),
    ProjectRole.PARTICIPANT: _("makes keys and sees nothing but their own"),
}


def project_role_choices(roles: Iterable[ProjectRole] = ProjectRole) -> list[tuple[str, str | Promise]]:
    return [
        (role.value, format_lazy(_("{role}: {meaning}"), role=role.label, meaning=MEANINGS[role])) for role in roles
    ]


class LastDayField(forms.DateField):
    """A day in the reader's time zone, through which something goes on. Cleaned to the moment at which it has ended."""

    widget = forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")

    def clean(self, value: Any) -> datetime | None:
        day = super().clean(value)
        return None if day is None else end_of(day, timezone.get_current_timezone())

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, datetime):
            return last_day(value)
        return value


def last_day(ends_at: datetime) -> date:
    """The day, in the reader's time zone, that something ending at that moment goes on through."""
    return timezone.localtime(last_moment(ends_at)).date()


class EndingForm(forms.Form):
    """A form whose `ends_at` is moved to today or later, or stays what it is."""

    def clean_ends_at(self) -> datetime | None:
        ends_at: datetime | None = self.cleaned_data["ends_at"]
        held: datetime | None = self.initial.get("ends_at")
        # What was closed during a day has that day in its field: sent back as it is, it must not open it again.
        if ends_at and held and last_day(ends_at) == last_day(held):
            return held
        if ends_at and ends_at <= timezone.now():
            raise forms.ValidationError(_("This day is over. Choose today or a later one."))
        return ends_at


class ProjectForm(EndingForm):
    name = forms.CharField(label=_("Name"), max_length=80, help_text=_("What is built here: an app, an experiment."))
    is_open = forms.BooleanField(
        label=_("Open to the whole organization"),
        required=False,
        initial=True,
        help_text=_("Every member and viewer takes part. Otherwise only those who are added, owners and admins."),
    )
    ends_at = LastDayField(
        label=_("Last day"),
        required=False,
        help_text=_("After it every key of the project stops working. Leave it empty for no end."),
    )

    @classmethod
    def of(cls, project: Project, data: Any) -> "ProjectForm":
        initial = {"name": project.name, "is_open": project.is_open, "ends_at": project.ends_at}
        return cls(data, initial=initial)


class PlaceForm(forms.Form):
    """What a member may do in one project."""

    role = forms.TypedChoiceField(label=_("Role"), coerce=ProjectRole, choices=project_role_choices)


class ServiceAccountForm(forms.ModelForm[ServiceAccount]):
    class Meta:
        model = ServiceAccount
        fields = ["name", "description"]
        labels = {"name": _("Name"), "description": _("Description")}
        help_texts = {"name": _("The program that will use its keys, such as “nightly evaluation”.")}
