from django.urls import path

from apikeys import views

app_name = "apikeys"
urlpatterns = [
    path("", views.index, name="list"),
    path("new/", views.new, name="new"),
    path("management/", views.management, name="management"),
    path("management/new/", views.new_management, name="new_management"),
    path("health/", views.health, name="health"),
    path("policy/", views.policy, name="policy"),
    path("policy/shorten/", views.shorten, name="shorten"),
    path("<str:key_id>/", views.detail, name="detail"),
    path("<str:key_id>/edit/", views.edit, name="edit"),
    path("<str:key_id>/rotate/", views.rotate, name="rotate"),
    path("<str:key_id>/secrets/<str:secret_id>/retire/", views.retire, name="retire"),
    path("<str:key_id>/disable/", views.disable, name="disable"),
    path("<str:key_id>/enable/", views.enable, name="enable"),
    path("<str:key_id>/revoke/", views.revoke, name="revoke"),
    path("<str:key_id>/fix/", views.fix, name="fix"),
]
