from datetime import timedelta

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.access import (
    AuthedRequest,
    current_project,
    organization_for,
    rights_in,
    rights_in_organization,
    service_account_for,
)
from accounts.listing import Listing
from accounts.models import Project, ServiceAccount
from accounts.projects.services import open_service_account
from accounts.roles import NONE, Right
from apikeys.access import key_for, may_change, require_maker, secret_for
from apikeys.forms import NEW, KeyForm, ManagementKeyForm, PolicyForm, RotateForm
from apikeys.health import Finding, Fix, counts, fix_key, with_finding
from apikeys.history import history_of, told
from apikeys.leaks import found
from apikeys.listing import KINDS, ORDERS, OWNERS, KeyFilters
from apikeys.models import ApiKey, KeyPolicy, KeyState
from apikeys.services import (
    MintedAlreadyError,
    RevokedError,
    change_key,
    change_policy,
    disable_key,
    enable_key,
    mint_key,
    mint_management_key,
    retire_secret,
    revoke_key,
    rotate_key,
    shorten_keys,
)
from apikeys.terms import PolicyViolationError
from common.context import current_origin
from common.edits import ChangedMeanwhileError
from common.paging import keyset_page
from common.redirects import next_address


@never_cache
@login_required
@require_safe
def index(request: AuthedRequest) -> HttpResponse:
    """The keys of the project, as the address says."""
    project = current_project(request)
    rights = rights_in(request.user, project)
    filters = KeyFilters.read(request.GET.dict())
    keys = filters.apply(ApiKey.objects.for_keys_page(project, request.user, rights), request.user)
    listing = Listing.of(request, ORDERS)
    page = listing.page(keys.with_use())
    context = {
        "project": project,
        "page": page,
        "listing": listing,
        "filters": filters,
        "kinds": [(kind.value, kind.label) for kind in KINDS],
        "states": KeyState.choices,
        "owners": OWNERS.items(),
        "may_make": project.is_live and KeyPolicy.objects.of(project.organization).lets_make(rights),
        "changeable": {key.pk for key in page.items if may_change(request.user, key, rights)},
    }
    return render(request, "apikeys/list.html", context)


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def new(request: AuthedRequest) -> HttpResponse:
    """A form for a key of the project. A POST shows the key on the page it answers with, the only time it is read."""
    project = current_project(request)
    rights = rights_in(request.user, project)
    policy = require_maker(project, rights)
    manages = Right.MANAGE_KEYS in rights
    form = KeyForm(
        request.POST or None,
        policy=policy,
        plan=project.organization.plan,
        address=current_origin.get().address,
        accounts=ServiceAccount.objects.for_list(project).order_by("name") if manages else None,
        service_account=request.GET.get("service_account", ""),
    )
    if request.method == "POST" and form.is_valid():
        try:
            key, secret = _mint(request, project, form)
        except PolicyViolationError as violation:
            form.refuse(violation)
        except MintedAlreadyError:
            return _made_already(request, "apikeys:list")
        else:
            return _show(request, key, secret)
    return _form(request, "apikeys/new.html", form, project=project)


@transaction.atomic
def _mint(request: AuthedRequest, project: Project, form: KeyForm) -> tuple[ApiKey, str]:
    return mint_key(
        project=project,
        name=form.cleaned_data["name"],
        by=request.user,
        submission=form.cleaned_data["submission"],
        service_account=_service_account(request, project, form),
        terms=form.terms(),
    )


def _service_account(request: AuthedRequest, project: Project, form: KeyForm) -> ServiceAccount | None:
    chosen = form.cleaned_data.get("service_account")
    if chosen == NEW:
        return open_service_account(project=project, name=form.cleaned_data["new_service_account"], by=request.user)
    return service_account_for(request.user, chosen) if chosen else None


@never_cache
@login_required
@require_safe
def management(request: AuthedRequest) -> HttpResponse:
    """The reader's own keys to the REST API."""
    listing = Listing.of(request, ORDERS)
    keys = ApiKey.objects.of_person(request.user).with_use()
    if listing.query:
        keys = keys.matching(listing.query)
    return render(request, "apikeys/management.html", {"listing": listing, "page": listing.page(keys)})


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def new_management(request: AuthedRequest) -> HttpResponse:
    """The same for a key to the REST API."""
    form = ManagementKeyForm(request.POST or None, address=current_origin.get().address)
    if request.method == "POST" and form.is_valid():
        try:
            key, secret = mint_management_key(
                owner=request.user,
                name=form.cleaned_data["name"],
                submission=form.cleaned_data["submission"],
                terms=form.terms(),
            )
        except MintedAlreadyError:
            return _made_already(request, "apikeys:management")
        return _show(request, key, secret)
    return _form(request, "apikeys/new_management.html", form)


@never_cache
@login_required
@require_safe
def detail(request: AuthedRequest, key_id: str) -> HttpResponse:
    return _detail(request, key_for(request.user, key_id), RotateForm())


def _detail(request: AuthedRequest, key: ApiKey, form: RotateForm) -> HttpResponse:
    rights = rights_in(request.user, key.project) if key.project else NONE
    secrets = list(key.secrets.order_by("-created_at"))
    newest = next(secret for secret in secrets if secret.is_newest)
    older = [
        (secret, secret.is_valid and secret.is_safe_to_retire(newest)) for secret in secrets if not secret.is_newest
    ]
    page = keyset_page(history_of(key), by="at", cursor=request.GET.get("cursor"))
    context = {
        "key": key,
        "newest": newest,
        "older": older,
        "page": page,
        "history": told(page.items),
        "found": found(key),
        "rotate_form": form,
        "may_change": may_change(request.user, key, rights) and not key.is_revoked,
        "policy": getattr(key.organization, "key_policy", None),
    }
    return render(request, "apikeys/detail.html", context, status=400 if form.errors else 200)


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def edit(request: AuthedRequest, key_id: str) -> HttpResponse:
    """The name and the terms of a key."""
    key = key_for(request.user, key_id, to_change=True)
    address = current_origin.get().address
    data = request.POST or None
    form = (
        ManagementKeyForm(data, key=key, address=address)
        if key.organization is None
        else KeyForm(
            data,
            key=key,
            policy=KeyPolicy.objects.of(key.organization),
            plan=key.organization.plan,
            address=address,
        )
    )
    if request.method == "POST" and form.is_valid():
        try:
            change_key(key=key, changes=form.changes(), shown=form.was_shown, by=request.user)
        except ChangedMeanwhileError as error:
            form.refuse_to_overwrite(error)
        except PolicyViolationError as violation:
            form.refuse(violation)
        except RevokedError:
            return _revoked(request, key)
        else:
            messages.success(request, _("“%(name)s” is changed. Calls feel it at once.") % {"name": key.name})
            return redirect("apikeys:detail", key.public_id)
    return _form(request, "apikeys/edit.html", form, key=key)


@never_cache
@login_required
@require_POST
def rotate(request: AuthedRequest, key_id: str) -> HttpResponse:
    """A new secret of the key, shown on the page it answers with."""
    key = key_for(request.user, key_id, to_change=True)
    form = RotateForm(request.POST)
    if not form.is_valid():
        return _detail(request, key, form)
    try:
        secret = rotate_key(
            key=key,
            overlap=timedelta(minutes=form.cleaned_data["overlap"]),
            by=request.user,
            submission=form.cleaned_data["submission"],
        )
    except PolicyViolationError as violation:
        form.add_error(None, str(violation))
        return _detail(request, key, form)
    except RevokedError:
        return _revoked(request, key)
    except MintedAlreadyError:
        messages.info(request, _("This form has made its secret already. Rotate again if you have not copied it."))
        return redirect("apikeys:detail", key.public_id)
    return _show(request, key, secret, rotated=True)


@login_required
@require_POST
def retire(request: AuthedRequest, key_id: str, secret_id: str) -> HttpResponse:
    secret = secret_for(request.user, key_id, secret_id)
    retire_secret(secret=secret, by=request.user)
    messages.success(request, _("The secret %(hint)s is retired: it is refused from now on.") % {"hint": secret.hint})
    return redirect("apikeys:detail", key_id)


@login_required
@require_POST
def disable(request: AuthedRequest, key_id: str) -> HttpResponse:
    key = key_for(request.user, key_id, to_change=True)
    disable_key(key=key, by=request.user)
    messages.success(
        request, _("Key “%(name)s” is disabled. Calls with it are refused until you enable it.") % {"name": key.name}
    )
    return _back(request, key)


@login_required
@require_POST
def enable(request: AuthedRequest, key_id: str) -> HttpResponse:
    key = key_for(request.user, key_id, to_change=True)
    try:
        enable_key(key=key, by=request.user)
    except RevokedError:
        return _revoked(request, key)
    messages.success(request, _("Key “%(name)s” works again.") % {"name": key.name})
    return _back(request, key)


@login_required
@require_POST
def revoke(request: AuthedRequest, key_id: str) -> HttpResponse:
    key = key_for(request.user, key_id, to_change=True)
    revoke_key(key=key, by=request.user)
    messages.success(
        request, _("Key “%(name)s” is revoked. Calls with it are refused from now on.") % {"name": key.name}
    )
    return _back(request, key)


@never_cache
@login_required
@require_safe
def health(request: AuthedRequest) -> HttpResponse:
    """What is wrong with the project's keys, one finding at a time."""
    project = current_project(request)
    rights = rights_in(request.user, project)
    keys = ApiKey.objects.for_keys_page(project, request.user, rights)
    counted = counts(keys)
    asked = request.GET.get("finding")
    finding = (
        Finding(asked) if asked in Finding.values else next((one for one in counted if counted[one]), Finding.LEAKED)
    )
    listing = Listing.of(request, ORDERS)
    found_keys = with_finding(keys, finding).with_use()
    if listing.query:
        found_keys = found_keys.matching(listing.query)
    page = listing.page(found_keys)
    context = {
        "project": project,
        "page": page,
        "finding": finding,
        "findings": [(one, counted[one]) for one in Finding],
        "listing": listing,
        "kept": {"finding": finding.value},
        "is_healthy": not any(counted.values()),
        "changeable": {key.pk for key in page.items if may_change(request.user, key, rights)},
    }
    return render(request, "apikeys/health.html", context)


@login_required
@require_POST
def fix(request: AuthedRequest, key_id: str) -> HttpResponse:
    """Mend one finding of one key."""
    key = key_for(request.user, key_id, to_change=True)
    asked = request.POST.get("fix")
    if asked not in Fix.values:
        return _back(request, key)
    try:
        fix_key(key=key, fix=Fix(asked), by=request.user)
    except PolicyViolationError as violation:
        messages.error(request, str(violation))
    except RevokedError:
        return _revoked(request, key)
    else:
        messages.success(request, _("“%(name)s” is changed. Calls feel it at once.") % {"name": key.name})
    return _back(request, key)


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def policy(request: AuthedRequest) -> HttpResponse:
    """What the organization of the current project demands of its keys: all members read it, admins set it."""
    organization = current_project(request).organization
    may_manage = Right.MANAGE_ORGANIZATION in rights_in_organization(request.user, organization)
    if request.method == "POST":
        organization_for(request.user, organization.public_id, to=Right.MANAGE_ORGANIZATION)
    address = current_origin.get().address
    form = PolicyForm(request.POST or None, policy=KeyPolicy.objects.of(organization), address=address)
    if request.method == "POST" and form.is_valid():
        try:
            with transaction.atomic():
                change_policy(organization=organization, by=request.user, shown=form.was_shown, **form.changes())
                if form.cleaned_data["older"] == "shorten":
                    shorten_keys(organization=organization, by=request.user)
        except ChangedMeanwhileError as error:
            form.refuse_to_overwrite(error)
        else:
            messages.success(request, _("The policy for keys is saved."))
            return redirect("apikeys:policy")
    if not may_manage:
        for field in form.fields.values():
            field.disabled = True
    keys = ApiKey.objects.of_organization(organization)
    return _form(
        request,
        "apikeys/policy.html",
        form,
        organization=organization,
        may_manage=may_manage,
        older=keys.outliving().count() if may_manage else 0,
    )


@login_required
@require_POST
def shorten(request: AuthedRequest) -> HttpResponse:
    """Have the keys of the organization that outlive its policy keep to it."""
    organization = organization_for(
        request.user, current_project(request).organization.public_id, to=Right.MANAGE_ORGANIZATION
    )
    count = shorten_keys(organization=organization, by=request.user)
    messages.success(
        request,
        ngettext(
            "%(count)s key was brought in line with the policy.",
            "%(count)s keys were brought in line with the policy.",
            count,
        )
        % {"count": count},
    )
    return redirect("apikeys:policy")


def _form(request: AuthedRequest, template: str, form: object, **context: object) -> HttpResponse:
    status = 400 if getattr(form, "errors", None) else 200
    return render(request, template, {"form": form, **context}, status=status)


def _show(request: AuthedRequest, key: ApiKey, secret: str, *, rotated: bool = False) -> HttpResponse:
    """The page that shows a secret, the only time it is readable."""
    return render(request, "apikeys/secret.html", {"key": key, "secret": secret, "rotated": rotated})


def _made_already(request: AuthedRequest, place: str) -> HttpResponse:
    messages.info(request, _("This form has made its key already. Make another if you have not copied it."))
    return redirect(place)


def _revoked(request: AuthedRequest, key: ApiKey) -> HttpResponse:
    messages.error(
        request, _("Key “%(name)s” was revoked, which cannot be undone. Make a new one.") % {"name": key.name}
    )
    return redirect("apikeys:detail", key.public_id)


def _back(request: AuthedRequest, key: ApiKey) -> HttpResponse:
    return redirect(next_address(request, default=reverse("apikeys:detail", args=[key.public_id])))
