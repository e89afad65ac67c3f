"""A run that went wrong is explained on its page, and one click leads to a run that goes well."""

from __future__ import annotations

import json
import urllib.request

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Server
from tests.browser.steps import wait_for_end

pytestmark = pytest.mark.browser


def test_a_wild_run_is_retried_with_the_proposed_change(page: Page, server: Server) -> None:
    asked = {"trainer": "sft", "data_path": "sample:neighbours", "lr": 0.3, "max_steps": 14, "project_name": "wild"}
    body = json.dumps({**asked, "sample_tokens": 0, "max_samples": 60}).encode()
    headers = {"Content-Type": "application/json"}
    urllib.request.urlopen(urllib.request.Request(f"{server.url}/studio/api/runs", body, headers), timeout=30)
    page.goto(f"{server.url}/run?id=wild")
    assert wait_for_end(page) == "done"
    card = page.locator(".finding")
    expect(card).to_have_count(1)
    expect(card).to_contain_text("The loss rose instead of falling")
    expect(card).to_contain_text("Learning rate: 0.3 → 0.00037")
    card.get_by_role("link", name="Retry with this change").click()
    page.wait_for_url("**/new?from=wild&finding=diverging")
    expect(page.locator(".st-note", has_text="one change: Learning rate: 0.3 → 0.00037")).to_be_visible()
    expect(page.locator("#command")).to_contain_text("--lr 0.00037")
    expect(page.locator("#command")).to_contain_text("--max-steps 14")
    expect(page.get_by_role("tab", name="4 · Review and start")).to_have_attribute("aria-selected", "true")
    expect(page.locator("#start")).to_be_enabled()
    page.click("#start")
    page.wait_for_url("**/run?id=sft-starter-*")
    assert wait_for_end(page) == "done"
    expect(page.locator(".kpis")).to_contain_text("14 of 14")
    expect(page.locator(".finding")).to_have_count(0)
