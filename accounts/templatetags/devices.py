"""A session in words."""

from allauth.usersessions.models import UserSession
from django import template

from accounts import sessions

register = template.Library()


@register.filter
def device(user_agent: str) -> str:
    return sessions.device_of(user_agent)


@register.filter
def handle(session: UserSession) -> str:
    return sessions.handle_of(session)
