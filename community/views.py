"""Votes and flags of readers; the moderators' desk."""

from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import redirect_to_login
from django.db import transaction
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.access import AuthedRequest, staff_required
from accounts.listing import NEWEST, OLDEST, Listing
from accounts.models import User
from common.paging import keyset_page
from common.redirects import next_address
from community import moderation, services
from community.access import act_for, post_for
from community.errors import RefusedError
from community.forms import DecisionForm, FlagForm
from community.models import Flag, FlagReason, FlagState, ModerationAct, Post, PostState
from community.registry import Place, place_of, places_of

VALUES = {"up": 1, "down": -1, "none": 0}


@require_http_methods(["GET", "HEAD", "POST"])
def vote(request: HttpRequest, post_id: str) -> HttpResponse:
    """Cast, change or take back a vote; answers with the vote buttons to htmx, with the post's page otherwise."""
    post, user = post_for(request.user, post_id), request.user
    place = place_of(post)
    is_partial = bool(request.headers.get("HX-Request"))
    if not isinstance(user, User):
        response = redirect_to_login(place.url)
        # A part of a page must not become the sign-in page: the browser goes there as a whole.
        return HttpResponse(headers={"HX-Redirect": response.url}) if is_partial else response
    if request.method != "POST":
        return redirect(place.url)
    refusal = ""
    try:
        post = services.cast_vote(post=post, voter=user, value=VALUES.get(request.POST.get("value", ""), 0))
    except RefusedError as error:
        refusal = str(error)
    if is_partial:
        own = post.votes.filter(voter=user).first()
        context = {"post": post, "my_vote": own.value if own else 0, "refusal": refusal}
        return render(request, "community/_vote.html", context)
    if refusal:
        messages.error(request, refusal)
    return redirect(place.url)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def flag(request: AuthedRequest, post_id: str) -> HttpResponse:
    post = post_for(request.user, post_id)
    place = place_of(post)
    form = FlagForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        reason, note = FlagReason(form.cleaned_data["reason"]), form.cleaned_data["note"]
        try:
            services.raise_flag(post=post, flagger=request.user, reason=reason, note=note)
        except RefusedError as error:
            form.add_error(None, str(error))
        else:
            messages.success(request, _("Thank you. A moderator will look at it, and you will hear what came of it."))
            return redirect(place.url)
    return render(request, "community/flag.html", {"form": form, "post": post, "place": place})


# The moderators' desk ------------------------------------------------------------------------------------------------


@require_safe
@staff_required
def queue(request: AuthedRequest) -> HttpResponse:
    page = keyset_page(Post.objects.for_queue(), by="open_flags", cursor=request.GET.get("cursor"), size=20)
    return render(request, "community/queue.html", {"page": page, "cases": _cases(page.items), "done": _done(request)})


@require_http_methods(["GET", "HEAD", "POST"])
@staff_required
def case(request: AuthedRequest, post_id: str) -> HttpResponse:
    """One post with everything about it. What is decided in the queue comes here too: a refusal loses nothing."""
    post = post_for(request.user, post_id)
    form = DecisionForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            acts = _decide(request.user, post, form.cleaned_data)
        except RefusedError as error:
            form.add_error(None, str(error))
        else:
            from_queue = request.POST.get("from") == "queue"
            back = reverse("community:moderation") if from_queue else reverse("community:case", args=[post.public_id])
            return redirect(f"{back}?done={','.join(act.public_id for act in acts)}")
    history = (
        ModerationAct.objects.for_log().filter(Q(post=post) | Q(person=post.author)).order_by("-created_at", "-id")
    )
    context = {"case": _cases([post])[0], "form": form, "acts": history[:50], "done": _done(request)}
    return render(request, "community/case.html", context)


@require_safe
@staff_required
def log(request: AuthedRequest) -> HttpResponse:
    listing = Listing.of(request, {"newest": NEWEST, "oldest": OLDEST})
    acts = ModerationAct.objects.for_log()
    if listing.query:
        acts = acts.matching(listing.query)
    page = listing.page(acts)
    places = places_of({act.post.pk: act.post for act in page.items if act.post}.values())
    rows = [{"act": act, "place": places.get(act.post_id or 0)} for act in page.items]
    return render(request, "community/log.html", {"listing": listing, "page": page, "rows": rows})


@require_POST
@staff_required
def undo(request: AuthedRequest, act_id: str) -> HttpResponse:
    act = act_for(request.user, act_id)
    try:
        moderation.undo(act=act, by=request.user)
    except RefusedError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, _("Undone: %(act)s.") % {"act": act.get_kind_display()})
    return redirect(next_address(request, default="community:log"))


@transaction.atomic
def _decide(by: User, post: Post, decision: dict[str, str]) -> list[ModerationAct]:
    reason = decision["reason"]
    match decision["act"]:
        case "hide":
            acts = [moderation.hide_post(post=post, by=by, reason=reason)]
            if decision["suspend_too"]:
                acts.append(moderation.suspend(person=post.author, by=by, reason=reason, post=post))
            return acts
        case "suspend":
            return [moderation.suspend(person=post.author, by=by, reason=reason, post=post)]
        case "readmit":
            return [moderation.readmit(person=post.author, by=by, reason=reason)]
        case act:
            return [_ON_POST[act](post=post, by=by, reason=reason)]


_ON_POST = {
    "restore": moderation.restore_post,
    "lock": moderation.lock_post,
    "unlock": moderation.unlock_post,
    "dismiss": moderation.dismiss_flags,
}


@dataclass(frozen=True)
class Record:
    """How often a person's posts were hidden, or their flags upheld, out of how many."""

    total: int
    counted: int


@dataclass(frozen=True)
class RaisedFlag:
    flag: Flag
    record: Record


@dataclass(frozen=True)
class Case:
    """A post on the moderators' desk with what they need to decide."""

    post: Post
    place: Place
    flags: list[RaisedFlag]
    author_record: Record


def _cases(posts: list[Post]) -> list[Case]:
    """Four queries whatever the number of posts, besides one per kind for their places."""
    flags = list(Flag.objects.filter(post__in=posts).select_related("flagger").order_by("state", "created_at"))
    flaggers, authors = {flag.flagger_id for flag in flags}, {post.author_id for post in posts}
    raised = _records(
        Flag.objects.filter(flagger__in=flaggers).exclude(state=FlagState.OPEN).values_list("flagger"),
        Q(state=FlagState.UPHELD),
    )
    written = _records(Post.objects.filter(author__in=authors).values_list("author"), Q(state=PostState.HIDDEN))
    places = places_of(posts)
    nothing = Record(0, 0)
    return [
        Case(
            post=post,
            place=places[post.pk],
            flags=[RaisedFlag(flag, raised.get(flag.flagger_id, nothing)) for flag in flags if flag.post_id == post.pk],
            author_record=written.get(post.author_id, nothing),
        )
        for post in posts
    ]


def _records(rows: "QuerySet[Any, tuple[Any, ...]]", counted: Q) -> dict[int, Record]:
    annotated = rows.annotate(total=Count("pk"), counted=Count("pk", filter=counted))
    return {person: Record(total, count) for person, total, count in annotated}


def _done(request: AuthedRequest) -> list[ModerationAct]:
    """The acts that led to this page, for undoing them on the spot."""
    ids = request.GET.get("done", "").split(",")[:2]
    return list(ModerationAct.objects.for_log().filter(public_id__in=ids, by=request.user).order_by("pk"))
