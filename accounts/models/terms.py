"""Versions of the terms of use, and who accepted them."""

from typing import Self

from django.db import models
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.models.people import User


class TermsVersionQuerySet(models.QuerySet["TermsVersion"]):
    def in_force(self) -> Self:
        # By the database's clock: a query that is built once must not keep the time it was built at.
        return self.filter(in_force_at__lte=Now())

    def owed_by(self, user: User | models.OuterRef) -> Self:
        """Versions in force that the user has accepted neither themselves nor in a later one."""
        accepted = TermsAcceptance.objects.filter(user=user, version__number__gte=models.OuterRef("number"))
        return self.in_force().filter(~models.Exists(accepted))

    def newest(self) -> "TermsVersion | None":
        """The latest, whether it is in force yet or not: who accepts it has accepted all before it."""
        return self.order_by("-number").first()


class TermsVersion(models.Model):
    """A version of the terms of use. It is never changed: another version takes its place."""

    number = models.PositiveIntegerField(_("version"), unique=True, editable=False)
    english = models.TextField(_("English text"))
    chinese = models.TextField(_("Chinese text"), blank=True)
    in_force_at = models.DateTimeField(_("in force from"), default=timezone.now)
    published_at = models.DateTimeField(_("published at"), default=timezone.now, editable=False)
    published_by = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, editable=False, related_name="+", verbose_name=_("published by")
    )

    objects = TermsVersionQuerySet.as_manager()

    class Meta:
        verbose_name = _("version of the terms")
        verbose_name_plural = _("versions of the terms")

    def __str__(self) -> str:
        return str(self.number)

    @property
    def public_id(self) -> str:
        return f"terms_{self.number}"

    @property
    def is_in_force(self) -> bool:
        return self.in_force_at <= timezone.now()

    def text_in(self, language: str) -> str:
        """The text in a language; the English one where there is no other."""
        return self.chinese if language.startswith("zh") and self.chinese else self.english


class TermsAcceptance(models.Model):
    """That somebody accepted a version of the terms."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="terms_acceptances")
    version = models.ForeignKey(TermsVersion, on_delete=models.PROTECT, related_name="acceptances")
    accepted_at = models.DateTimeField(_("accepted at"), default=timezone.now, editable=False)

    class Meta:
        verbose_name = _("acceptance of the terms")
        verbose_name_plural = _("acceptances of the terms")
        constraints = [
            models.UniqueConstraint(fields=["user", "version"], name="accepted_once"),
        ]

    def __str__(self) -> str:
        return f"{self.user} · {self.version}"
