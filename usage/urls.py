from django.urls import path

from usage import views

app_name = "usage"
urlpatterns = [
    path("", views.overview, name="overview"),
    path("live/", views.live, name="live"),
    path("export.csv", views.export, name="export"),
]
