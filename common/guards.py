"""What every page refuses before anything reads the request, and what it forbids the browser."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, HttpResponseNotAllowed

from common.api import problem_response

# Nothing here uses them, so that a script which should not be here cannot either. Passkeys are not in the list.
PERMISSIONS_POLICY = "camera=(), display-capture=(), geolocation=(), microphone=(), midi=(), payment=(), usb=()"

# Where the views are those of packages, which take any method for one of these: allauth's forms act on a PUT.
PAGES_OF_PACKAGES = ("/accounts/", "/admin/", "/i18n/")
METHODS_OF_PAGES = ("GET", "HEAD", "POST")


class GuardsMiddleware:
    """Answers 405 to methods that no browser sends, before pages of packages act on them.

    Answers 400 where an address or a cookie holds a NUL, which no page means and PostgreSQL refuses with an error.

    Fields of forms and of JSON refuse it by themselves, in words.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if _has_nul(request):
            response = _refusal(is_api=request.path.startswith("/api/"))
        elif request.method not in METHODS_OF_PAGES and request.path.startswith(PAGES_OF_PACKAGES):
            response = HttpResponseNotAllowed(METHODS_OF_PAGES)
        else:
            response = self.get_response(request)
        response.headers.setdefault("Permissions-Policy", PERMISSIONS_POLICY)
        return response


def _refusal(*, is_api: bool) -> HttpResponse:
    words = "This address is malformed."
    if not is_api:
        return HttpResponseBadRequest(words, content_type="text/plain")
    return problem_response(400, words, code="malformed_address")


def _has_nul(request: HttpRequest) -> bool:
    if "\0" in request.path or "%00" in request.META.get("QUERY_STRING", ""):
        return True
    return any("\0" in value for value in request.COOKIES.values())
