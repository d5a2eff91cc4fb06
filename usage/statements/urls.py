from django.urls import path

from usage.statements import views

app_name = "statements"
urlpatterns = [
    path("", views.statements, name="list"),
    path("<str:name>/", views.month, name="month"),
    path("<str:name>.csv", views.file, name="file"),
]
