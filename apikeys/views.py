from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from accounts.access import AuthedRequest, current_project, rights_in
from accounts.roles import Right
from apikeys.access import key_for, may_change
from apikeys.forms import KeyForm
from apikeys.models import ApiKey
from apikeys.services import MintedAlreadyError, mint_key, revoke_key
from common.paging import keyset_page


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def index(request: AuthedRequest) -> HttpResponse:
    """The project's keys. A POST mints one and shows it on the page it answers with, the only time it is readable."""
    project = current_project(request)
    rights = rights_in(request.user, project)
    if request.method == "POST" and Right.MAKE_KEYS not in rights:
        raise PermissionDenied
    form = KeyForm(request.POST or None)
    secret = minted = None
    if request.method == "POST" and form.is_valid():
        try:
            minted, secret = mint_key(project=project, by=request.user, **form.cleaned_data)
        except MintedAlreadyError:
            messages.info(request, _("This form has made its key already. Make another if you have not copied it."))
            return redirect("apikeys:list")
        form = KeyForm()
    keys = ApiKey.objects.for_keys_page(project, request.user, rights)
    page = keyset_page(keys, by="created_at", cursor=request.GET.get("cursor"))
    status = 400 if form.errors else 200
    context = {
        "project": project,
        "page": page,
        "form": form,
        "secret": secret,
        "minted": minted,
        "may_make": Right.MAKE_KEYS in rights,
        "changeable": {key.pk for key in page.items if may_change(request.user, key, rights)},
    }
    return render(request, "apikeys/list.html", context, status=status)


@login_required
@require_POST
def revoke(request: AuthedRequest, key_id: str) -> HttpResponse:
    key = key_for(request.user, key_id, to_change=True)
    revoke_key(key=key, by=request.user)
    messages.success(
        request, _("Key “%(name)s” is revoked. Calls with it are refused from now on.") % {"name": key.name}
    )
    return redirect("apikeys:list")
