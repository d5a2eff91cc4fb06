"""`/v1/organization`: what management keys open here. Unlike the rest of `/v1` it needs SQL, which runs in threads."""

from functools import partial

import orjson
from django.db import OperationalError, connection, transaction
from psycopg.errors import QueryCanceled

from common.errors import InvalidRequestError
from gateway.authentication import authenticate_manager
from gateway.turns import Turns, check_pace
from gateway.wire import Exchange
from usage.organization.asked import ask
from usage.organization.routes import View

MOST_AT_ONCE = 2
STATEMENT_SECONDS = 5
REQUESTS_PER_MINUTE = 600


class OrganizationApi:
    """Answers the questions of one event loop, a few at a time."""

    def __init__(self) -> None:
        self._turns = Turns(MOST_AT_ONCE)

    async def answer(self, view: View, exchange: Exchange) -> bytes:
        """The body of the view's answer.

        Raises the ApiErrors of authenticate_manager and of the view, RateLimitError, InvalidRequestError for what takes
        too long to add up, and OverloadedError.
        """
        return await self._turns.run(partial(_answer, view, exchange))


def _answer(view: View, exchange: Exchange) -> bytes:
    check_pace("organizations", per_minute=REQUESTS_PER_MINUTE)
    user = authenticate_manager(exchange.headers)
    try:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute(f"SET LOCAL statement_timeout = '{STATEMENT_SECONDS}s'")
            asked = ask(
                user,
                organization_id=exchange.headers.get("openai-organization", ""),
                query=exchange.query(),
                ids=exchange.path_params,
            )
            return orjson.dumps(view(asked))
    except OperationalError as error:
        if not isinstance(error.__cause__, QueryCanceled):
            raise
        raise InvalidRequestError(
            "This takes too long to add up. Ask for a shorter time, for fewer buckets at once or for some projects."
        ) from error
