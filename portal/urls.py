"""Every address of the pages. /v1, /stream, /livez, /readyz and /metrics are portal.asgi's."""

from allauth.account.decorators import secure_admin_login
from allauth.account.views import signup
from django.contrib import admin
from django.db import transaction
from django.urls import include, path

from docs_site.views import llms
from portal import views

handler500 = "portal.views.failed"

# The portal's own sign-in, with its rate limits and second factors, instead of the admin's, which has neither.
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]

urlpatterns = [
    path("", views.home, name="home"),
    path("quickstart/", views.quickstart, name="quickstart"),
    path("admin/", admin.site.urls),
    path("", include("accounts.auditing.urls")),
    path("", include("accounts.urls")),
    # All of an account or none of it; and a new one waits for the disk no more often than a known one does.
    path("accounts/signup/", transaction.atomic(signup), name="account_signup"),
    path("accounts/", include("allauth.urls")),
    path("i18n/", include("django.conf.urls.i18n")),
    path("theme/", views.set_theme, name="set_theme"),
    path("api/", include("portal.api")),
    path("organizations/<str:organization_id>/webhooks/", include("webhooks.urls")),
    path("organizations/<str:organization_id>/statements/", include("usage.statements.urls")),
    path("organizations/<str:organization_id>/credits/", include("usage.credits.urls")),
    path("", include("usage.plans.urls")),
    path("keys/", include("apikeys.leak_urls")),
    path("keys/", include("apikeys.urls")),
    path("", include("catalog.urls")),
    path("usage/", include("usage.urls")),
    path("operations/", include("portal.operations.urls")),
    path("playground/", include("playground.urls")),
    path("docs/", include("docs_site.urls")),
    path("llms.txt", llms, name="llms"),
    path("forum/", include("forum.urls")),
    path("", include("community.urls")),
    path("notifications/", include("notifications.urls")),
    path("search/", include("search.urls")),
]
