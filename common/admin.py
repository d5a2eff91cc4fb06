"""What pages of Django's admin share."""

from typing import Any, TypeVar

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import Field, Model, QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

from common.forms import DollarsField

M = TypeVar("M", bound=Model)


class BoundedPaginator(Paginator[Any]):
    """Counts no further than anyone leafs: a whole count of the ledger takes longer than the page asked for."""

    most = 10_000
    object_list: QuerySet[Any]

    @cached_property
    def count(self) -> int:
        return self.object_list[: self.most].count()


class LimitedAdmin(admin.ModelAdmin[M]):
    """Something with limits: its budget is entered in dollars, as prices are everywhere else."""

    def formfield_for_dbfield(self, db_field: Field[Any, Any], request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "monthly_budget_nano":
            return DollarsField(
                label=capfirst(db_field.verbose_name),
                required=False,
                help_text=_("In dollars, for a calendar month in UTC."),
            )
        return super().formfield_for_dbfield(db_field, request, **kwargs)


class ReadOnlyAdmin(admin.ModelAdmin[Any]):
    """Rows that are evidence: staff read them, nobody edits them."""

    paginator = BoundedPaginator
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
