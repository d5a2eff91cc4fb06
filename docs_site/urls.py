"""Addresses of the docs, under /docs/. `/llms.txt` stands at the root, where programs look for it."""

from django.urls import path

from docs_site import views

app_name = "docs_site"
urlpatterns = [
    path("", views.index, name="index"),
    path("api/", views.reference, name="reference"),
    path("api/<slug:slug>/", views.reference_section, name="reference_section"),
    path("<slug:slug>.md", views.twin, name="twin"),
    path("<slug:slug>/", views.page, name="page"),
]
