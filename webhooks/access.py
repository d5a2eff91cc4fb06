"""Who may fetch which endpoint."""

from django.http import Http404

from accounts.access import organization_for
from accounts.models import User
from accounts.roles import Right
from webhooks.models import Delivery, Endpoint


def endpoint_for(user: User, organization_id: str, endpoint_id: str) -> Endpoint:
    """An endpoint of an organization that the user manages; 404 for strangers, 403 for other members."""
    organization = organization_for(user, organization_id, to=Right.MANAGE_ORGANIZATION)
    endpoint = (
        Endpoint.objects.select_related("organization", "created_by")
        .filter(organization=organization, public_id=endpoint_id)
        .first()
    )
    if endpoint is None:
        raise Http404
    return endpoint


def delivery_for(user: User, organization_id: str, endpoint_id: str, delivery_id: str) -> Delivery:
    """A delivery to an endpoint that the user may fetch."""
    endpoint = endpoint_for(user, organization_id, endpoint_id)
    delivery = Delivery.objects.for_log(endpoint).filter(public_id=delivery_id).first()
    if delivery is None:
        raise Http404
    return delivery
