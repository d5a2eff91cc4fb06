from django.urls import path
from django.views.decorators.http import require_safe

from forum import views
from forum.feeds import NewestQuestions

app_name = "forum"
urlpatterns = [
    path("", views.index, name="index"),
    path("ask/", views.ask, name="ask"),
    path("tags/", views.tags, name="tags"),
    path("feed/", require_safe(NewestQuestions()), name="feed"),
    path("preview/", views.preview, name="preview"),
    path("questions/<str:question_id>/", views.question, name="question_by_id"),
    path("questions/<str:question_id>/<str:slug>/", views.question, name="question"),
    path("answers/<str:answer_id>/accept/", views.accept, name="accept"),
    path("posts/<str:post_id>/comment/", views.comment, name="comment"),
    path("posts/<str:post_id>/edit/", views.edit, name="edit"),
    path("posts/<str:post_id>/history/", views.history, name="history"),
    path("posts/<str:post_id>/delete/", views.delete, name="delete"),
]
