from django.urls import path

from accounts import views

app_name = "accounts"
urlpatterns = [
    path("settings/", views.settings_page, name="settings"),
    path("setup/<str:token>/", views.setup, name="setup"),
    path("projects/<str:project_id>/choose/", views.choose, name="choose_project"),
    path("mail/", views.mail, name="mail"),
]
