from django.urls import path

from catalog import views

app_name = "catalog"
urlpatterns = [
    path("models/", views.models_page, name="models"),
    path("models/<path:name>/", views.model_page, name="model"),
    path("backends/", views.backends_page, name="backends"),
    path("backends/connect/", views.connect, name="connect"),
    path("backends/check/", views.check_now, name="check_now"),
    path("backends/models/<path:name>/", views.edit_model, name="edit_model"),
    path("backends/limits/<path:name>/", views.model_limits, name="model_limits"),
    path("backends/<slug:name>/", views.backend_page, name="backend"),
    path("backends/<slug:name>/discover/", views.rediscover, name="rediscover"),
    path("backends/<slug:name>/enabled/", views.set_enabled, name="set_enabled"),
    path("backends/<slug:name>/model/", views.set_deployment_enabled, name="set_deployment_enabled"),
    path("backends/<slug:name>/deployments/<path:backend_name>/", views.edit_deployment, name="deployment"),
    path("backends/<slug:name>/remove/", views.remove, name="remove"),
]
