"""The forum, whose threads everybody reads, and the moderators' desk.

Who may not do what a button does is told so on the page of the post, where `=` says that nothing was done.
"""

from tests.permissions.answers import Address, everybody, signed_in, staff

THE_AUTHOR = "302 302= 302= 302= 302= 302= 302= in 302="
TEXT = {"text": "A proxy in between buffers what it gets."}
QUESTION = {"title": "Why is the first word late?", "text": "It takes two seconds to come.", "tags": "latency"}

ROWS = [
    Address("forum:index", "/forum/", {"GET": everybody()}),
    Address("forum:tags", "/forum/tags/", {"GET": everybody()}),
    Address("forum:feed", "/forum/feed/", {"GET": everybody()}),
    Address("forum:ask", "/forum/ask/", {"GET": signed_in(), "POST": signed_in("302")}, QUESTION),
    Address("forum:preview", "/forum/preview/", {"POST": signed_in("200=")}, TEXT),
    Address("forum:question", "/forum/questions/{question}/{slug}/", {"GET": everybody(), "POST": signed_in("302")},
            TEXT),
    Address("forum:question_by_id", "/forum/questions/{question}/",
            {"GET": everybody("301"), "POST": signed_in("302")}, TEXT),
    Address("forum:accept", "/forum/answers/{answer}/accept/", {"GET": signed_in("302"), "POST": THE_AUTHOR}),
    Address("forum:comment", "/forum/posts/{post}/comment/", {"GET": signed_in(), "POST": signed_in("302")}, TEXT),
    Address("forum:edit", "/forum/posts/{post}/edit/",
            {"GET": "200 302 302 302 302 302 302 in 200",
             "POST": "302 200= 200= 200= 200= 200= 200= in 302"}, {**QUESTION, "base": "1"}),
    Address("forum:history", "/forum/posts/{post}/history/", {"GET": everybody()}),
    Address("forum:delete", "/forum/posts/{lonely_post}/delete/", {"GET": signed_in("302"), "POST": THE_AUTHOR}),
    # Nobody votes for a post of their own, nor flags it, nor flags one twice: the answer is the stranger's.
    Address("community:vote", "/community/posts/{others_post}/vote/",
            {"GET": signed_in("302"), "POST": "302 302 302 302 302 302 302= in 302"}, {"value": "up"}),
    Address("community:flag", "/community/posts/{others_post}/flag/",
            {"GET": signed_in(), "POST": "200= 302 302 302 302 302 200= in 302"}, {"reason": "spam"}),
    Address("community:moderation", "/moderation/", {"GET": staff()}),
    Address("community:log", "/moderation/log/", {"GET": staff()}),
    Address("community:case", "/moderation/posts/{others_post}/", {"GET": staff(), "POST": staff("302")},
            {"act": "hide", "reason": "Spam."}),
    Address("community:undo", "/moderation/acts/{act}/undo/", {"POST": staff("302")}),
]  # fmt: skip
