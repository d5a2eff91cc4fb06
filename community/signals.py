"""What community announces to the apps whose posts it keeps. Sent inside the transaction that made the change."""

from django.dispatch import Signal

# post: Post in its new state · was: PostState before
post_state_changed = Signal()

# posts: list[Post], whose HTML was made again from the same text
posts_rendered = Signal()
