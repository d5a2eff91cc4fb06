"""The REST API's addresses and its schema. Each app says in its own `api.py` what stands behind them."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import include, path, re_path
from django.utils import translation
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularAPIView
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse
from rest_framework.views import APIView

from accounts.auditing.api import EventsFileView, EventsView
from accounts.organizations.api import OrganizationsView
from apikeys.api import inner_places as inner_places_of_keys
from apikeys.api import places as places_of_keys
from apikeys.leak_api import LeaksView
from apikeys.leaks import without_keys
from catalog.api import ModelsView
from common.api import problem_response
from playground.api import RunStopView, RunsView, RunView
from usage.api import AllowancesView, AllowanceView, CallsView, CallView, LimitsView, SummaryView
from usage.credits.api import CreditsView
from usage.plans.api import OrganizationPlanView
from webhooks import api as webhooks


class SchemaView(SpectacularAPIView):
    """The description of the whole API. It is the same for all, so that each language of it is made once."""

    def _get_schema_response(self, request: Request) -> HttpResponse:
        renderer, media_type = self.perform_content_negotiation(request, force=True)
        language = translation.get_language() or settings.LANGUAGE_CODE
        if language not in dict(settings.LANGUAGES):
            language = settings.LANGUAGE_CODE
        wanted = (media_type, language)
        if wanted not in _written:
            with translation.override(language):
                schema = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
                _written[wanted] = renderer.render(schema)
        name = f'inline; filename="{self._get_filename(request, None)}"'  # type: ignore[no-untyped-call]
        return HttpResponse(_written[wanted], content_type=media_type, headers={"Content-Disposition": name})


_written: dict[tuple[str, str], str | bytes] = {}


@extend_schema(exclude=True)
class RootView(APIView):
    """What there is, by address."""

    permission_classes = [AllowAny]

    def get(self, request: Request) -> Response:
        return Response({name: reverse(name, request=request) for place in places if (name := place.name)})


def not_found(request: HttpRequest) -> JsonResponse:
    """An unknown address under /api/, answered like every other refusal there."""
    words = f"There is nothing at {without_keys(request.path)}. {reverse('api-schema')} says what there is."
    return problem_response(404, words, code="not_found")


WEBHOOKS = "organizations/<str:organization_id>/webhooks"
WEBHOOK = f"{WEBHOOKS}/<str:endpoint_id>"

places = [
    path("audit/events/", EventsView.as_view(), name="api-audit-events"),
    *places_of_keys,
    path("leaks/", LeaksView.as_view(), name="api-leaks"),
    path("models/", ModelsView.as_view(), name="api-models"),
    path("organizations/", OrganizationsView.as_view(), name="api-organizations"),
    path("runs/", RunsView.as_view(), name="api-runs"),
    path("schema/", SchemaView.as_view(), name="api-schema"),
    path("usage/allowance/", AllowanceView.as_view(), name="api-usage-allowance"),
    path("usage/limits/", LimitsView.as_view(), name="api-usage-limits"),
    path("usage/calls/", CallsView.as_view(), name="api-usage-calls"),
    path("usage/summary/", SummaryView.as_view(), name="api-usage-summary"),
]
urlpatterns = [
    path("", RootView.as_view(), name="api-root"),
    *places,
    *inner_places_of_keys,
    path("audit/events.<str:kind>", EventsFileView.as_view(), name="api-audit-events-file"),
    path("", include("accounts.api_urls")),
    path("organizations/<str:organization_id>/credits/", CreditsView.as_view(), name="api-organization-credits"),
    path("cohorts/<str:cohort_id>/allowances/", AllowancesView.as_view(), name="api-cohort-allowances"),
    path("organizations/<str:organization_id>/plan/", OrganizationPlanView.as_view(), name="api-organization-plan"),
    path("runs/<str:run_id>/", RunView.as_view(), name="api-run"),
    path("runs/<str:run_id>/stop/", RunStopView.as_view(), name="api-run-stop"),
    path("usage/calls/<str:request_id>/", CallView.as_view(), name="api-usage-call"),
    path(f"{WEBHOOKS}/", webhooks.EndpointsView.as_view(), name="api-webhooks"),
    path(f"{WEBHOOK}/", webhooks.EndpointView.as_view(), name="api-webhook"),
    path(f"{WEBHOOK}/enabled/", webhooks.EnabledView.as_view(), name="api-webhook-enabled"),
    path(f"{WEBHOOK}/secret/", webhooks.SecretView.as_view(), name="api-webhook-secret"),
    path(f"{WEBHOOK}/test/", webhooks.TestView.as_view(), name="api-webhook-test"),
    path(f"{WEBHOOK}/deliveries/", webhooks.DeliveriesView.as_view(), name="api-webhook-deliveries"),
    path(f"{WEBHOOK}/deliveries/<str:delivery_id>/resend/", webhooks.ResendView.as_view(), name="api-webhook-resend"),
    re_path("", not_found),
]
