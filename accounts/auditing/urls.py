from django.urls import path

from accounts.auditing import views

app_name = "audit"
urlpatterns = [
    path("audit/", views.whole_log, name="everything"),
    path("audit/log.<str:kind>", views.whole_file, name="everything_file"),
    path("organizations/<str:organization_id>/audit/", views.organization_log, name="organization"),
    path("organizations/<str:organization_id>/audit/log.<str:kind>", views.organization_file, name="organization_file"),
]
