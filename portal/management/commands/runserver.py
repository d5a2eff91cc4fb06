"""`runserver` with the whole web process behind it: Django's own would serve the pages without /v1 and the streams."""

from typing import Any

import uvicorn
from django.core.management.commands.runserver import Command as RunserverCommand


class Command(RunserverCommand):
    # Set by Django's own `handle`; its type stubs do not say so.
    addr: str
    port: str

    help = "Serves pages, /v1 and streams for development, and reloads when a source file changes."

    def inner_run(self, *args: Any, **options: Any) -> None:
        self.stdout.write(f"Lyceum on http://{self.addr}:{self.port}/ (development server)")
        uvicorn.run(
            "portal.asgi:application",
            host=self.addr,
            port=int(self.port),
            log_config=None,
            access_log=False,
            proxy_headers=False,
        )
