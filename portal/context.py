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

from accounts.access import SESSION_KEY, AuthedRequest, current_project
from accounts.models import Project


@dataclass(frozen=True)
class Place:
    """A page worth naming in the navigation. It is left out while its URL name does not exist."""

    label: str | Promise
    url_name: str
    icon: str


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
        Place(_("Backends"), "catalog:backends", "server-stack"),
        Place(_("Moderation"), "community:moderation", "shield-check"),
        Place(_("Audit"), "audit:everything", "clipboard-document-list"),
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
    return {
        "portal_name": settings.PORTAL_NAME,
        "theme": theme if theme in THEMES else "auto",
        "csp_nonce": getattr(request, "csp_nonce", ""),
        "nav": _sections(sections, request.path),
        "public_nav": _items(PUBLIC_PLACES, request.path),
        "mail_is_kept": not settings.EMAIL_URL,
        "search_url": _url("search:results"),
        "switcher": SimpleLazyObject(lambda: _switcher(request)),
    }


@dataclass(frozen=True)
class Switcher:
    """The projects a person may work in, and the one the pages are about."""

    projects: list[Project]
    current: Project


def _switcher(request: HttpRequest) -> Switcher:
    authed = cast(AuthedRequest, request)
    projects = list(Project.objects.for_member(authed.user))
    chosen = request.session.get(SESSION_KEY)
    current = next((project for project in projects if project.public_id == chosen), None)
    return Switcher(projects, current or (projects[0] if projects else current_project(authed)))


def _with(section: Section, place: Place) -> Section:
    label, places = section
    return label, (*places, place)


def _sections(sections: tuple[Section, ...], path: str) -> list[NavSection]:
    found = [NavSection(label, _items(places, path)) for label, places in sections]
    return [section for section in found if section.items]


def _items(places: tuple[Place, ...], path: str) -> list[NavItem]:
    found = [(place, url) for place in places if (url := _url(place.url_name))]
    # The reference lies beneath the docs: of two that the path begins with, the longer is where one is.
    current = max((url for _place, url in found if path.startswith(url)), key=len, default=None)
    return [NavItem(place.label, url, place.icon, url == current) for place, url in found]


@cache
def _url(name: str) -> str | None:
    try:
        return reverse(name)
    except NoReverseMatch:
        return None
