"""Models and the servers behind them, usage, the playground, the docs, and what belongs to no app."""

from tests.permissions.answers import Address, everybody, signed_in, staff, those_who_see_usage, whose_it_is

BACKEND = "/backends/{backend}"
RUN = "/playground/runs/{run}"
PROMPT = {"model": "{model}", "prompt": "Say hello."}

ROWS = [
    Address("home", "/", {"GET": everybody()}),
    Address("quickstart", "/quickstart/", {"GET": signed_in()}),
    Address("set_theme", "/theme/", {"POST": everybody("302=")}, {"theme": "dark"}),
    Address("search:results", "/search/?q=stream", {"GET": everybody()}),
    Address("docs_site:index", "/docs/", {"GET": everybody()}),
    Address("docs_site:page", "/docs/quickstart/", {"GET": everybody()}),
    Address("docs_site:twin", "/docs/quickstart.md", {"GET": everybody()}),
    Address("docs_site:reference", "/docs/api/", {"GET": everybody()}),
    Address("docs_site:reference_section", "/docs/api/webhooks/", {"GET": everybody()}),
    Address("llms", "/llms.txt", {"GET": everybody()}),
    Address("catalog:models", "/models/", {"GET": everybody()}),
    Address("catalog:model", "/models/{model}/", {"GET": everybody()}),
    Address("catalog:backends", "/backends/", {"GET": staff()}),
    Address("catalog:connect", "/backends/connect/", {"GET": staff(), "POST": staff("302")},
            {"name": "gpu-2", "base_url": "{server}"}),
    Address("catalog:check_now", "/backends/check/", {"POST": staff("302")}),
    Address("catalog:backend", BACKEND + "/", {"GET": staff(), "POST": staff("302")}, {"base_url": "{server}"}),
    Address("catalog:rediscover", BACKEND + "/discover/", {"POST": staff("302")}),
    Address("catalog:set_enabled", BACKEND + "/enabled/", {"POST": staff("302")}, {"enabled": "no"}),
    Address("catalog:set_deployment_enabled", BACKEND + "/model/", {"POST": staff("302")},
            {"backend_name": "qwen3-8b", "enabled": "no"}),
    Address("catalog:deployment", BACKEND + "/deployments/{model}/", {"GET": staff(), "POST": staff("302")},
            {"priority": "1", "weight": "2"}),
    Address("catalog:remove", BACKEND + "/remove/", {"POST": staff("302")}),
    Address("catalog:model_limits", "/backends/limits/{model}/", {"GET": staff(), "POST": staff("302")},
            {"requests_per_day": "50"}),
    Address("catalog:edit_model", "/backends/models/{model}/", {"GET": staff(), "POST": staff("302")},
            {"description": "Another one.", "input_price": "1", "output_price": "2", "uses": ["chat"]}),
    Address("usage:overview", "/usage/?group=key", {"GET": signed_in()}),
    Address("usage:overview", "/usage/?group=key&scope=organization", {"GET": signed_in()}),
    Address("usage:live", "/usage/live/?group=key", {"GET": signed_in()}),
    Address("usage:calls", "/usage/calls/?outcome=failed", {"GET": signed_in()}),
    Address("usage:calls", "/usage/calls/?scope=organization", {"GET": signed_in()}),
    Address("usage:calls", "/usage/calls/?q={call}", {"GET": signed_in("302")}),
    Address("usage:calls_file", "/usage/calls/log.csv?scope=organization", {"GET": signed_in()}),
    Address("usage:call", "/usage/calls/{call}/", {"GET": those_who_see_usage()}),
    Address("usage:export", "/usage/export.csv?group=key", {"GET": signed_in()}),
    Address("usage:failures_file", "/usage/failures.csv?scope=organization", {"GET": signed_in()}),
    # In the project that is chosen; who only reads there is told so on the page.
    Address("playground:index", "/playground/",
            {"GET": signed_in(), "POST": "302 302 302 200= 200= 302 302 in 302"}, PROMPT),
    Address("playground:code", "/playground/code/", {"POST": signed_in("200=")}, PROMPT),
    Address("playground:history", "/playground/runs/", {"GET": signed_in()}),
    Address("playground:run", RUN + "/", {"GET": whose_it_is()}),
    Address("playground:result", RUN + "/result/", {"GET": whose_it_is()}),
    Address("playground:ticket", RUN + "/ticket/", {"GET": whose_it_is()}),
    Address("playground:delete", RUN + "/delete/", {"POST": whose_it_is("302")}),
    Address("playground:stop", "/playground/runs/{running}/stop/", {"POST": whose_it_is("302")}),
]  # fmt: skip
