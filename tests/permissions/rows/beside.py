"""What is answered beside Django: `/v1`, which asks for a key and knows no session, streams of runs, and health."""

from tests.permissions.answers import Address, everybody

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def _only(methods: str, row: str) -> dict[str, str]:
    return {**dict.fromkeys(METHODS, everybody("405")), **dict.fromkeys(methods.split(), row)}


WITHOUT_A_KEY = everybody("401")

ROWS = [
    *(Address(path, path, _only("POST", WITHOUT_A_KEY), {"model": "{model}"})
      for path in ("/v1/audio/speech", "/v1/audio/transcriptions", "/v1/audio/translations", "/v1/chat/completions",
                   "/v1/completions", "/v1/embeddings", "/v1/images/edits", "/v1/images/generations", "/v1/messages",
                   "/v1/messages/count_tokens", "/v1/moderations", "/v1/rerank", "/v1/responses")),
    Address("/v1/models", "/v1/models", _only("GET", WITHOUT_A_KEY)),
    Address("/v1/models/{name:path}", "/v1/models/{model}", _only("GET", WITHOUT_A_KEY)),
    # What keys get of other projects is in tests/batches/test_isolation.py.
    *(Address(f"/v1/{path}", f"/v1/{path.format(file_id='file-1', batch_id='batch_1')}", _only(methods, WITHOUT_A_KEY))
      for path, methods in (("files", "GET POST"), ("files/{file_id}", "GET DELETE"),
                            ("files/{file_id}/content", "GET"), ("batches", "GET POST"), ("batches/{batch_id}", "GET"),
                            ("batches/{batch_id}/cancel", "POST"))),
    # Management keys open these, and what each role is told there is in tests/usage/test_organization*.py.
    *(Address(f"/v1/organization/{path}", f"/v1/organization/{path.replace('project_id', 'project')}",
              _only("GET", WITHOUT_A_KEY))
      for path in ("costs", "projects", "projects/{project_id}", "projects/{project_id}/api_keys",
                   "usage/audio_speeches", "usage/audio_transcriptions", "usage/completions", "usage/embeddings",
                   "usage/images", "usage/moderations", "users")),
    # A ticket opens the run that it was given for, and only a page gives one: playground:ticket.
    Address("/stream/runs/{run_id}", "/stream/runs/{run}", _only("GET", everybody("403"))),
    Address("/stream/runs/{run_id}", "/stream/runs/{run}?ticket={ticket_of_another_run}",
            _only("GET", everybody("403"))),
    Address("/livez", "/livez", _only("GET", everybody())),
    # No worker runs here, and the page says so.
    Address("/readyz", "/readyz", _only("GET", everybody("503"))),
    # No role opens it but a setting: tests/portal/test_metrics.py.
    Address("/metrics", "/metrics", _only("GET", everybody("404"))),
]  # fmt: skip
