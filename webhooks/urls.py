from django.urls import path

from webhooks import views

app_name = "webhooks"
urlpatterns = [
    path("", views.index, name="list"),
    path("new/", views.new, name="new"),
    path("<str:endpoint_id>/", views.endpoint, name="endpoint"),
    path("<str:endpoint_id>/edit/", views.edit, name="edit"),
    path("<str:endpoint_id>/secret/", views.rotate, name="rotate"),
    path("<str:endpoint_id>/enabled/", views.set_enabled, name="set_enabled"),
    path("<str:endpoint_id>/test/", views.test, name="test"),
    path("<str:endpoint_id>/remove/", views.remove, name="remove"),
    path("<str:endpoint_id>/deliveries/<str:delivery_id>/", views.delivery, name="delivery"),
    path("<str:endpoint_id>/deliveries/<str:delivery_id>/resend/", views.resend, name="resend"),
]
