"""What is answered under `/v1/organization/`, by path. OpenAI's other reports are of what no portal serves."""

from collections.abc import Callable, Mapping
from typing import Any

from usage.organization import directory
from usage.organization.asked import Asked
from usage.organization.reports import BY_USE, COMPLETIONS, COSTS

View = Callable[[Asked], dict[str, Any]]

ROUTES: Mapping[str, View] = {
    "usage/completions": COMPLETIONS,
    **{f"usage/{name}": report for name, report in BY_USE.items()},
    "costs": COSTS,
    "projects": directory.projects,
    "projects/{project_id}": directory.project,
    "projects/{project_id}/api_keys": directory.keys,
    "users": directory.users,
}
