"""What is held about what a person wrote, voted and flagged."""

from collections.abc import Iterator

from accounts.holdings import Document, Holding, as_json, as_table
from accounts.models import User
from community.models import Flag, ModerationAct, Post, PostRevision, Vote
from community.registry import places_of

_SHARED = "Stays signed “Deleted user”: threads, their history and the log of moderation belong to others as well."


def export(user: User) -> Iterator[Document]:
    posts = list(Post.objects.filter(author=user).select_related("parent__parent").order_by("pk"))
    places = places_of(posts)
    for post in posts:
        place = places.get(post.pk)
        facts = {
            "title": place.title if place else "",
            "address": place.url if place else "",
            "written": post.created_at.isoformat(),
            "edited": post.edited_at.isoformat() if post.edited_at else "",
            "state": post.state,
            "score": str(post.score),
        }
        head = "".join(f"{name}: {value}\n" for name, value in facts.items() if value)
        yield Document(f"posts/{post.kind}-{post.public_id}.md", [f"---\n{head}---\n{post.source}\n"])
    revisions = PostRevision.objects.filter(editor=user).order_by("pk")
    yield as_table(
        "posts/revisions.json", revisions, "post__public_id", "number", "title", "summary", "source", "created_at"
    )
    yield as_table("posts/votes.json", Vote.objects.filter(voter=user), "post__public_id", "value", "created_at")
    yield as_table(
        "posts/flags.json",
        Flag.objects.filter(flagger=user),
        "post__public_id",
        "reason",
        "note",
        "state",
        "created_at",
    )
    yield as_json("posts/moderation.json", _acts(user))


def erase(user: User) -> None:
    Vote.objects.filter(voter=user).delete()
    Flag.objects.filter(flagger=user).update(note="")


def _acts(user: User) -> Iterator[dict[str, object]]:
    for own, acts in ((True, user.moderation_acts.all()), (False, user.acts_upon.all())):
        for act in acts:
            yield {"by_you": own, "act": act.kind, "reason": act.reason, "at": act.created_at}


HOLDING = Holding(
    app="community",
    exports=frozenset(model._meta.label for model in (Post, PostRevision, Vote, Flag, ModerationAct)),
    erases=frozenset(model._meta.label for model in (Vote, Flag)),
    export=export,
    erase=erase,
    keeps={model._meta.label: _SHARED for model in (Post, PostRevision, ModerationAct)},
)
