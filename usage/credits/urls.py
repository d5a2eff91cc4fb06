from django.urls import path

from usage.credits import views

app_name = "credits"
urlpatterns = [path("", views.overview, name="overview")]
