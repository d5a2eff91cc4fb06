"""What every page's frame needs: who the portal is, the theme, and the navigation."""

from dataclasses import dataclass
from functools import cache
from typing import cast

from django.conf import settings
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.functional import Promise, SimpleLazyObject
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from accounts.access import SESSION_KEY, AuthedRequest, current_project, rights_in_organization
from accounts.models import Membership, Project
from accounts.roles import IN_ORGANIZATION, Right, Rights, Role


@dataclass(frozen=True)
class Place:
    """A page worth naming in the navigation. It is left out while its URL name does not exist.

    One that says a `right` is a page of the organization in hand, for those who have that right in it.
    """

    label: str | Promise
    url_name: str
    icon: str
    right: Right | None = None


@dataclass(frozen=True)
class NavItem:
    label: str | Promise
    url: str
    icon: str
    current: bool


@dataclass(frozen=True)
class NavSection:
    label: str | Promise
    items: list[NavItem]


Section = tuple[str | Promise, tuple[Place, ...]]

SECTIONS: tuple[Section, ...] = (
    (
        _("Build"),
        (
            Place(_("Quickstart"), "quickstart", "rocket-launch"),
            Place(_("Playground"), "playground:index", "beaker"),
            Place(_("Models"), "catalog:models", "cube"),
        ),
    ),
    (
        _("Manage"),
        (
            Place(_("Keys"), "apikeys:list", "key"),
            Place(_("Usage"), "usage:overview", "chart-bar"),
            Place(_("Request log"), "usage:calls", "queue-list"),
            Place(_("Projects"), "accounts:projects", "folder", Right.SEE),
            Place(_("Members"), "accounts:members", "users", Right.SEE_PEOPLE),
            Place(_("Cohorts"), "accounts:cohorts", "academic-cap", Right.MANAGE_PEOPLE),
            Place(_("Organization"), "accounts:organization", "building-office", Right.SEE),
            Place(_("Webhooks"), "webhooks:list", "bolt", Right.MANAGE_ORGANIZATION),
            Place(_("Audit log"), "audit:organization", "clipboard-document-list", Right.SEE_AUDIT),
            Place(_("Settings"), "accounts:settings", "cog-6-tooth"),
        ),
    ),
    (
        _("Learn"),
        (
            Place(_("Docs"), "docs_site:index", "book-open"),
            Place(_("API reference"), "docs_site:reference", "code-bracket"),
        ),
    ),
    (
        _("Community"),
        (Place(_("Forum"), "forum:index", "chat-bubble-left-right"),),
    ),
)
STAFF_SECTION: Section = (
    _("Operate"),
    (
        Place(_("Overview"), "operations:overview", "presentation-chart-line"),
        Place(_("Backends"), "catalog:backends", "server-stack"),
        Place(_("Plans"), "plans:list", "rectangle-stack"),
        Place(_("Moderation"), "community:moderation", "shield-check"),
        Place(_("Audit"), "audit:everything", "clipboard-document-list"),
        Place(_("Terms of use"), "accounts:publish_terms", "document-text"),
        Place(pgettext_lazy("place", "Admin"), "admin:index", "wrench-screwdriver"),
    ),
)
PUBLIC_PLACES: tuple[Place, ...] = (
    Place(_("Docs"), "docs_site:index", "book-open"),
    Place(_("Models"), "catalog:models", "cube"),
    Place(_("Forum"), "forum:index", "chat-bubble-left-right"),
)
KEPT_MAIL = Place(_("Mail"), "accounts:mail", "envelope")
THEMES = ("auto", "light", "dark")


def frame(request: HttpRequest) -> dict[str, object]:
    """The context that `templates/base.html` relies on."""
    user = getattr(request, "user", None)
    sections = SECTIONS
    if user is not None and user.is_staff:
        sections = (*SECTIONS, STAFF_SECTION)
    theme = request.COOKIES.get("theme", "auto")
    if user is not None and user.is_authenticated and not settings.EMAIL_URL:
        sections = (*sections[:1], _with(sections[1], KEPT_MAIL), *sections[2:])
    switcher = cast(Switcher, SimpleLazyObject(lambda: _switcher(request)))
    return {
        "portal_name": settings.PORTAL_NAME,
        "theme": theme if theme in THEMES else "auto",
        "csp_nonce": getattr(request, "csp_nonce", ""),
        "nav": SimpleLazyObject(lambda: _sections(sections, request.path, _organization_in_hand(request, switcher))),
        "public_nav": _items(PUBLIC_PLACES, request.path, None),
        "mail_is_kept": not settings.EMAIL_URL,
        "search_url": _url("search:results"),
        "switcher": switcher,
    }


MOST_PROJECTS = 30


@dataclass(frozen=True)
class Switcher:
    """The projects a person may work in (the first of them when they are many), and the one the pages are about."""

    projects: list[Project]
    has_more: bool
    current: Project
    rights: Rights
    """In the organization of the current project."""

    @property
    def may_make(self) -> bool:
        """Whether the person may make a project in the organization they are in."""
        return Right.MANAGE_PROJECT in self.rights


def _switcher(request: HttpRequest) -> Switcher:
    authed = cast(AuthedRequest, request)
    found = list(Project.objects.for_member(authed.user)[: MOST_PROJECTS + 1])
    chosen = request.session.get(SESSION_KEY)
    current = next((project for project in found if project.public_id == chosen), None)
    if current is None and (not found or (chosen and len(found) > MOST_PROJECTS)):
        current = current_project(authed)
    current = current or found[0]
    role = getattr(current, "role_of_user", None)
    rights = IN_ORGANIZATION[Role(role)] if role else rights_in_organization(authed.user, current.organization)
    return Switcher(found[:MOST_PROJECTS], len(found) > MOST_PROJECTS, current, rights)


@dataclass(frozen=True)
class InHand:
    """The organization that the rail's pages are about, and what the reader may do in it."""

    organization_id: str
    rights: Rights


def _organization_in_hand(request: HttpRequest, switcher: Switcher) -> InHand:
    """The organization the page itself is about, else that of the current project."""
    current = switcher.current.organization
    named = request.resolver_match.kwargs.get("organization_id") if request.resolver_match else None
    if named and named != current.public_id:
        user = cast(AuthedRequest, request).user
        membership = Membership.objects.filter(user=user, organization__public_id=named).first()
        if membership:
            return InHand(named, IN_ORGANIZATION[Role(membership.role)])
    return InHand(current.public_id, switcher.rights)


def _with(section: Section, place: Place) -> Section:
    label, places = section
    return label, (*places, place)


def _sections(sections: tuple[Section, ...], path: str, in_hand: InHand) -> list[NavSection]:
    found = [NavSection(label, _items(places, path, in_hand)) for label, places in sections]
    return [section for section in found if section.items]


def _items(places: tuple[Place, ...], path: str, in_hand: InHand | None) -> list[NavItem]:
    found = [(place, url) for place in places if (url := _address(place, in_hand))]
    # The reference lies beneath the docs: of two that the path begins with, the longer is where one is.
    current = max((url for _place, url in found if path.startswith(url)), key=len, default=None)
    return [NavItem(place.label, url, place.icon, url == current) for place, url in found]


def _address(place: Place, in_hand: InHand | None) -> str | None:
    if place.right is None:
        return _url(place.url_name)
    if in_hand is None or place.right not in in_hand.rights:
        return None
    return reverse(place.url_name, args=[in_hand.organization_id])


@cache
def _url(name: str) -> str | None:
    try:
        return reverse(name)
    except NoReverseMatch:
        return None
