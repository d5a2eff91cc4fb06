from django.urls import path

from usage.plans import views

app_name = "plans"
urlpatterns = [
    path("plans/", views.plans_page, name="list"),
    path("plans/new/", views.new_plan, name="new"),
    path("plans/<str:plan_id>/", views.plan_page, name="plan"),
    path("plans/<str:plan_id>/assign/", views.assign, name="assign"),
    path("plans/<str:plan_id>/take-off/", views.take_off, name="take_off"),
    path("organizations/<str:organization_id>/plan/", views.organization_plan, name="organization"),
    path("organizations/<str:organization_id>/plan/<str:plan_id>/", views.choose_plan, name="choose"),
]
