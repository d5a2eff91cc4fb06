from django.urls import path

from notifications import views

app_name = "notifications"
urlpatterns = [
    path("", views.listing, name="list"),
    path("read/", views.read_all, name="read_all"),
    path("mail/", views.mail, name="mail"),
    path("unsubscribe/<str:token>/", views.unsubscribe, name="unsubscribe"),
    path("<str:notification_id>/", views.follow, name="follow"),
]
