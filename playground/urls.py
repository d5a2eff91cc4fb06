from django.urls import path

from playground import views

app_name = "playground"

urlpatterns = [
    path("", views.index, name="index"),
    path("code/", views.code, name="code"),
    path("runs/", views.history, name="history"),
    path("runs/<str:run_id>/", views.run, name="run"),
    path("runs/<str:run_id>/result/", views.result, name="result"),
    path("runs/<str:run_id>/ticket/", views.ticket, name="ticket"),
    path("runs/<str:run_id>/stop/", views.stop, name="stop"),
    path("runs/<str:run_id>/delete/", views.delete, name="delete"),
]
