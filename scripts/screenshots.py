#!/usr/bin/env python3
"""Makes the picture in README.md from a running portal: `.venv/bin/python scripts/screenshots.py [ADDRESS]`.

The browser is the program that CHROMIUM names, else the first of the usual ones on PATH.
"""

import os
import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

IMAGE = Path(__file__).resolve().parent.parent / "docs" / "images" / "home.png"
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")


def browser_path() -> str:
    """The browser to drive. Exits with one line when there is none."""
    for name in (os.environ.get("CHROMIUM", ""), *BROWSERS):
        if name and (found := shutil.which(name)):
            return found
    sys.exit("No Chromium was found: install one, or set CHROMIUM to its path.")


def take_picture(address: str) -> None:
    """Write the landing page of the portal at `address`, as a visitor with a light theme sees it."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path(), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 800}, locale="en-US", color_scheme="light")
        page.goto(address, wait_until="networkidle")
        page.evaluate("document.fonts.ready")
        IMAGE.parent.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=IMAGE)
        browser.close()


if __name__ == "__main__":
    take_picture(sys.argv[1] if len(sys.argv) > 1 else "http://localhost:8000")
