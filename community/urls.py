from django.urls import path

from community import views

app_name = "community"
urlpatterns = [
    path("community/posts/<str:post_id>/vote/", views.vote, name="vote"),
    path("community/posts/<str:post_id>/flag/", views.flag, name="flag"),
    path("moderation/", views.queue, name="moderation"),
    path("moderation/log/", views.log, name="log"),
    path("moderation/posts/<str:post_id>/", views.case, name="case"),
    path("moderation/acts/<str:act_id>/undo/", views.undo, name="undo"),
]
