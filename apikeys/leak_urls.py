from django.urls import path

from apikeys import leak_views

app_name = "leaks"
urlpatterns = [
    path("found/", leak_views.found, name="found"),
    path("found/github/", leak_views.github, name="github"),
    path("scanning/", leak_views.scanning, name="scanning"),
    path("scanning/<str:name>", leak_views.rules, name="rules"),
]
