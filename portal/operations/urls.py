from django.urls import path

from portal.operations import views

app_name = "operations"
urlpatterns = [
    path("", views.overview, name="overview"),
    path("now/", views.now_part, name="now"),
    path("organizations/<str:organization_id>/", views.organization, name="organization"),
    path("<slug:table>.csv", views.file, name="file"),
]
