from django.urls import path

from usage import log_views, views

app_name = "usage"
urlpatterns = [
    path("", views.overview, name="overview"),
    path("live/", views.live, name="live"),
    path("export.csv", views.export, name="export"),
    path("totals.csv", views.totals_file, name="totals_file"),
    path("times.csv", views.times_file, name="times_file"),
    path("week.csv", views.week_file, name="week_file"),
    path("failures.csv", views.failures_file, name="failures_file"),
    path("calls/", log_views.calls, name="calls"),
    path("calls/log.csv", log_views.file, name="calls_file"),
    path("calls/<str:request_id>/", log_views.call, name="call"),
]
