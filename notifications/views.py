"""The list of notifications, its switch for mail, and the links in the mail."""

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.access import AuthedRequest
from common.paging import keyset_page
from notifications import services
from notifications.models import Notification
from notifications.texts import tell


@require_safe
@login_required
def listing(request: AuthedRequest) -> HttpResponse:
    rows = Notification.objects.for_list(request.user)
    page = keyset_page(rows, by="updated_at", cursor=request.GET.get("cursor"))
    context = {"page": page, "told": tell(request.user, page.items), "wants_mail": services.wants_mail(request.user)}
    return render(request, "notifications/list.html", context)


@require_safe
@login_required
def follow(request: AuthedRequest, notification_id: str) -> HttpResponse:
    """Go to what the notification is about; it counts as read."""
    row = get_object_or_404(Notification.objects.for_list(request.user), public_id=notification_id)
    services.mark_read(user=request.user, public_id=row.public_id)
    return redirect(row.url)


@require_POST
@login_required
def read_all(request: AuthedRequest) -> HttpResponse:
    services.mark_read(user=request.user)
    return redirect("notifications:list")


@require_POST
@login_required
def mail(request: AuthedRequest) -> HttpResponse:
    wants = request.POST.get("wants_mail") == "yes"
    services.set_mail(user=request.user, wants_mail=wants)
    messages.success(request, _("Notifications are mailed to you.") if wants else _("No more notifications by mail."))
    return redirect("notifications:list")


# The mail program posts here by itself, with no cookie and so no CSRF token; the signed token is the permission.
@csrf_exempt
@require_http_methods(["GET", "HEAD", "POST"])
def unsubscribe(request: HttpRequest, token: str) -> HttpResponse:
    """GET asks, POST stops the mail: a link that a mail scanner opens must not change anything."""
    user = services.user_behind(token)
    if user is None:
        raise Http404
    if request.method == "POST":
        services.set_mail(user=user, wants_mail=False)
    context = {"token": token, "is_done": not services.wants_mail(user)}
    return render(request, "notifications/unsubscribe.html", context)
