from django.contrib.auth.decorators import login_required
from django.urls import path

from accounts import views

app_name = "accounts"
urlpatterns = [
    path("settings/", views.settings_page, name="settings"),
    path("setup/<str:token>/", views.setup, name="setup"),
    path("projects/<str:project_id>/choose/", views.choose, name="choose_project"),
    # In the place of allauth's own: it stands before it in the portal's addresses.
    path("accounts/email/", login_required(views.EmailAddressesView.as_view()), name="addresses"),
    path("mail/", views.mail, name="mail"),
]
