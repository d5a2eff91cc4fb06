"""The way to a provider, in a browser that keeps to our Content-Security-Policy."""

import re
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from playwright.sync_api import Page, expect

from tests.fakes.identity_provider import identity_provider, portal_settings

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("scripts", [True, False])
def test_it_works(live_server: Any, page: Page, settings: LazySettings, tmp_path: Path, scripts: bool) -> None:
    with identity_provider(tmp_path) as provider:
        settings.SOCIALACCOUNT_PROVIDERS = portal_settings(provider.url)
        context = page.context.browser.new_context(java_script_enabled=scripts)  # type: ignore[union-attr]
        page = context.new_page()
        page.goto(f"{live_server.url}/accounts/login/")
        page.get_by_text("University").click()
        page.get_by_role("button", name="Continue").click()
        # That it knows no portal at this address is the provider's business.
        expect(page).to_have_url(re.compile(re.escape(provider.url)))
        context.close()
