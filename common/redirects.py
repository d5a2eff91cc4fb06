"""Going back to where a form was sent from."""

from django.http import HttpRequest
from django.shortcuts import resolve_url
from django.utils.http import url_has_allowed_host_and_scheme


def next_address(request: HttpRequest, *, default: str) -> str:
    """The address in `next` when it leads nowhere but into this portal, else that of the URL `default`."""
    address = request.POST.get("next") or request.GET.get("next", "")
    # No host is allowed, not even our own: the Host header is the client's to choose. And only a path, for Django's
    # redirect takes any other word for the name of a URL.
    if address.startswith("/") and url_has_allowed_host_and_scheme(address, allowed_hosts=None):
        return address
    return resolve_url(default)
