"""The portal's addresses, with refusals that only say why: their page is the same everywhere, and takes the longest."""

from django.http import HttpRequest, HttpResponse

from portal.urls import handler500 as handler500
from portal.urls import urlpatterns as urlpatterns


def handler403(request: HttpRequest, exception: Exception) -> HttpResponse:
    return HttpResponse(str(exception), status=403)


def handler404(request: HttpRequest, exception: Exception) -> HttpResponse:
    return HttpResponse(status=404)
