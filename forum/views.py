"""The pages of the forum."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.text import Truncator
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.access import AuthedRequest
from accounts.models import User
from apikeys.access import key_for
from apikeys.services import revoke_key
from common import markdown
from common.forms import new_submission
from common.paging import Page, keyset_page
from community.errors import RefusedError
from community.models import PostKind, Tag
from community.registry import place_of
from community.services import may_edit
from forum import services
from forum.access import answer_for, member_for, question_for
from forum.forms import (
    AnswerForm,
    CommentForm,
    EditAnswerForm,
    EditCommentForm,
    EditQuestionForm,
    QuestionForm,
)
from forum.history import compare
from forum.models import Question
from forum.thread import read
from notifications.services import mark_read
from search import services as search
from search.models import SearchDocument

BEST_SHOWN = 50
POPULAR_TAGS = 16


@dataclass(frozen=True)
class Filters:
    """What the list shows, as its address says."""

    query: str
    tag: str
    sort: str

    @classmethod
    def of(cls, request: HttpRequest) -> "Filters":
        query, sort = request.GET.get("q", "").strip(), request.GET.get("sort", "")
        sorts = ["relevant", "newest", "active", "unanswered"] if query else ["newest", "active", "unanswered"]
        return cls(query, request.GET.get("tag", "").strip().lower(), sort if sort in sorts else sorts[0])

    def address(self, **changes: str) -> str:
        """The query string with some filters changed; a new order begins at its first page."""
        values = {"q": self.query, "tag": self.tag, "sort": self.sort} | changes
        return "?" + urlencode({name: value for name, value in values.items() if value})


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    filters = Filters.of(request)
    context = {
        "page": _listed(filters, request.GET.get("cursor")),
        "filters": filters,
        "sorts": _sorts(filters),
        "tag": Tag.objects.filter(name=filters.tag).first() if filters.tag else None,
        "popular": Tag.objects.filter(question_count__gt=0).order_by("-question_count", "name")[:POPULAR_TAGS],
    }
    return render(request, "forum/index.html", context)


def _listed(filters: Filters, cursor: str | None) -> Page[Question]:
    questions = Question.objects.for_list()
    if filters.tag:
        questions = questions.tagged(filters.tag)
    if filters.sort == "relevant":
        matching = search.find(filters.query, kinds=[services.SEARCH_KIND])
        if filters.tag:
            # Before the best are cut off, or what is best under the tag could be beyond them.
            matching = matching.filter(object_id__in=questions.values("public_id"))
        ids = list(matching.values_list("object_id", flat=True)[:BEST_SHOWN])
        found = {question.public_id: question for question in questions.filter(public_id__in=ids)}
        return Page([found[one] for one in ids if one in found], newer=None, older=None)
    if filters.query:
        found_in = SearchDocument.objects.filter(kind=services.SEARCH_KIND).matching(filters.query)
        questions = questions.filter(public_id__in=found_in.values("object_id"))
    if filters.sort == "unanswered":
        questions = questions.unanswered()
    return keyset_page(questions, by="last_activity_at" if filters.sort == "active" else "created_at", cursor=cursor)


def _sorts(filters: Filters) -> list[dict[str, Any]]:
    labels = {"newest": _("Newest"), "active": _("Active"), "unanswered": _("Unanswered")}
    if filters.query:
        labels = {"relevant": _("Best match")} | labels
    return [
        {"label": label, "url": filters.address(sort=name), "current": name == filters.sort}
        for name, label in labels.items()
    ]


@require_safe
def tags(request: HttpRequest) -> HttpResponse:
    query = request.GET.get("q", "").strip().lower()
    found = Tag.objects.filter(question_count__gt=0)
    if query:
        found = found.filter(name__contains=query)
    return render(request, "forum/tags.html", {"tags": found.order_by("-question_count", "name")[:200], "query": query})


def _revokes_key(request: HttpRequest, user: User) -> bool:
    """Whether the button pressed was not that of the form but one that revokes a key its text shows; that is done."""
    key_id = request.POST.get("revoke_key", "").replace("\0", "")
    if not key_id:
        return False
    key = key_for(user, key_id, to_change=True)
    revoke_key(key=key, by=user)
    messages.success(
        request,
        _("Key “%(name)s” is revoked. Nothing is posted yet: look at your text once more.") % {"name": key.name},
    )
    return True


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def ask(request: AuthedRequest) -> HttpResponse:
    """The form may come filled in by its address: pages of the portal link here with what they know."""
    filled = {name: request.GET.get(name, "") for name in ("title", "text", "tags")}
    form = QuestionForm(request.POST or None, initial=filled | {"submission": new_submission()})
    if request.method == "POST" and not _revokes_key(request, request.user) and form.is_valid():
        try:
            question = services.ask(
                author=request.user,
                title=form.cleaned_data["title"],
                source=form.cleaned_data["text"],
                tags=form.cleaned_data["tags"],
                submission=form.cleaned_data["submission"],
            )
        except RefusedError as error:
            form.refuse(error)
        else:
            return redirect(question.get_absolute_url())
    return render(request, "forum/ask.html", {"form": form})


@require_http_methods(["GET", "HEAD", "POST"])
def question(request: HttpRequest, question_id: str, slug: str = "") -> HttpResponse:
    """The thread. Posting to it gives an answer."""
    user = request.user
    asked = question_for(user, question_id)
    if request.method != "POST" and slug != asked.slug:
        return redirect(asked.get_absolute_url(), permanent=True)
    form = AnswerForm(request.POST or None, initial={"submission": new_submission()})
    if request.method == "POST":
        if not isinstance(user, User):
            return redirect_to_login(asked.get_absolute_url())
        if not _revokes_key(request, user) and form.is_valid():
            try:
                given = services.answer(
                    question=asked,
                    author=user,
                    source=form.cleaned_data["text"],
                    submission=form.cleaned_data["submission"],
                )
            except RefusedError as error:
                form.refuse(error)
            else:
                return redirect(f"{asked.get_absolute_url()}#{given.public_id}")
    elif isinstance(user, User):
        mark_read(user=user, object_id=asked.post.public_id)
    return _thread(request, asked, form)


def _thread(request: HttpRequest, asked: Question, form: AnswerForm) -> HttpResponse:
    start = request.GET.get("from", "0")
    thread = read(asked, request.user, start=min(int(start), 10_000) if start.isascii() and start.isdigit() else 0)
    return render(
        request,
        "forum/question.html",
        {
            "thread": thread,
            "question": asked,
            "form": form,
            "description": Truncator(markdown.plain_text(asked.post.html)).chars(160),
            "canonical": settings.PUBLIC_URL + asked.get_absolute_url(),
        },
    )


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def comment(request: AuthedRequest, post_id: str) -> HttpResponse:
    member = member_for(request.user, post_id)
    form = CommentForm(request.POST or None, initial={"submission": new_submission()})
    if request.method == "POST" and not _revokes_key(request, request.user) and form.is_valid():
        try:
            made = services.comment(
                question=member.question,
                on=member.post,
                author=request.user,
                source=form.cleaned_data["text"],
                submission=form.cleaned_data["submission"],
            )
        except RefusedError as error:
            form.refuse(error)
        else:
            return redirect(f"{member.question.get_absolute_url()}#{made.public_id}")
    return render(request, "forum/comment.html", {"form": form, "member": member})


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def accept(request: AuthedRequest, answer_id: str) -> HttpResponse:
    """Accept an answer or take that back; whoever comes here by signing in again only sees the answer."""
    answer = answer_for(request.user, answer_id)
    if request.method == "POST":
        try:
            services.accept(answer=answer, by=request.user)
        except RefusedError as error:
            messages.error(request, str(error))
    return redirect(f"{answer.question.get_absolute_url()}#{answer.public_id}")


EDIT_FORMS = {PostKind.QUESTION: EditQuestionForm, PostKind.ANSWER: EditAnswerForm, PostKind.COMMENT: EditCommentForm}


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def edit(request: AuthedRequest, post_id: str) -> HttpResponse:
    member = member_for(request.user, post_id)
    post, asked = member.post, member.question
    if request.method != "POST" and not may_edit(request.user, post) and not request.user.is_suspended:
        # Told before somebody has written for nothing. Who is suspended reads of that on the page.
        messages.error(request, _("This post can no longer be edited."))
        return redirect(place_of(post).url)
    initial: dict[str, Any] = {"text": post.source, "base": post.revision}
    if post.kind == PostKind.QUESTION:
        initial |= {"title": asked.title, "tags": " ".join(tag.name for tag in asked.tags.all())}
    form = EDIT_FORMS[PostKind(post.kind)](request.POST or None, initial=initial)
    if request.method == "POST" and not _revokes_key(request, request.user) and form.is_valid():
        try:
            services.edit(
                post=post,
                by=request.user,
                source=form.cleaned_data["text"],
                base=form.cleaned_data["base"],
                title=form.cleaned_data.get("title", ""),
                tags=form.cleaned_data.get("tags", ()),
                summary=form.cleaned_data["summary"],
            )
        except RefusedError as error:
            form.refuse(error)
        else:
            return redirect(place_of(post).url)
    return render(request, "forum/edit.html", {"form": form, "post": post, "question": asked})


@require_safe
def history(request: HttpRequest, post_id: str) -> HttpResponse:
    """Every version of a post; `?revision=` is compared with the one before it."""
    member = member_for(request.user, post_id)
    asked_for = request.GET.get("revision", "")
    shown = (
        int(asked_for) if asked_for.isascii() and asked_for.isdigit() and len(asked_for) < 8 else member.post.revision
    )
    revision = get_object_or_404(member.post.revisions, number=shown)
    before = member.post.revisions.filter(number=shown - 1).first()
    context = {
        "post": member.post,
        "question": member.question,
        "revisions": member.post.revisions.select_related("editor").defer("source").order_by("-number")[:100],
        "revision": revision,
        "before": before,
        "lines": compare(before.source if before else "", revision.source),
    }
    return render(request, "forum/history.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def delete(request: AuthedRequest, post_id: str) -> HttpResponse:
    """Take a post back; whoever comes here by signing in again only sees the post."""
    member = member_for(request.user, post_id)
    if request.method != "POST":
        return redirect(place_of(member.post).url)
    try:
        services.delete(post=member.post, by=request.user)
    except RefusedError as error:
        messages.error(request, str(error))
        return redirect(place_of(member.post).url)
    messages.success(request, _("Deleted. Others can no longer read it."))
    return redirect("forum:index" if member.post.kind == PostKind.QUESTION else member.question.get_absolute_url())


@require_POST
@login_required
def preview(request: AuthedRequest) -> HttpResponse:
    """The posted Markdown as it will look: the same renderer that makes the page."""
    return HttpResponse(markdown.render(request.POST.get("text", "")))
