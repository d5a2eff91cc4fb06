"""Every address of the pages. /v1, /stream, /livez and /readyz are portal.asgi's."""

from django.contrib import admin
from django.urls import include, path

from docs_site.views import llms
from portal import views

urlpatterns = [
    path("", views.home, name="home"),
    path("quickstart/", views.quickstart, name="quickstart"),
    path("admin/", admin.site.urls),
    path("accounts/", include("allauth.urls")),
    path("i18n/", include("django.conf.urls.i18n")),
    path("theme/", views.set_theme, name="set_theme"),
    path("api/", include("portal.api")),
    path("", include("accounts.urls")),
    path("keys/", include("apikeys.urls")),
    path("", include("catalog.urls")),
    path("usage/", include("usage.urls")),
    path("playground/", include("playground.urls")),
    path("docs/", include("docs_site.urls")),
    path("llms.txt", llms, name="llms"),
    path("forum/", include("forum.urls")),
    path("", include("community.urls")),
    path("notifications/", include("notifications.urls")),
    path("search/", include("search.urls")),
]
