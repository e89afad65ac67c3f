"""What a person does on a page, in the browser tests of more than one file."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

TRAINED_S = 180_000
_ENDED = re.compile("done|failed|stopped|interrupted")


def typed(page: Page, name: str, text: str) -> None:
    """Write a text into the box with the id `name`, in place of what is there."""
    box = page.locator(f"#{name} textarea, #{name} input").first
    box.click()
    page.keyboard.press("Control+A")
    page.keyboard.type(text)


def wait_for_end(page: Page) -> str:
    """Wait until the run page says that the run has ended; returns how."""
    pill = page.locator(".run-head .st-pill")
    expect(pill).to_have_text(_ENDED, timeout=TRAINED_S)
    return pill.inner_text()
