"""Uploads as fast as no person sends them are slowed down, for whoever sends them and for nobody else."""

from __future__ import annotations

import contextlib

from tests.login.conftest import Studio
from ui.login.pace import UPLOADS, WITHIN_S, Pace


def test_as_many_as_a_person_may_send_and_then_a_wait() -> None:
    now = 0.0
    pace = Pace(lambda: now)
    assert [pace.wait_s("ada") for _ in range(UPLOADS)] == [0.0] * UPLOADS
    now = 20.0
    assert pace.wait_s("ada") == WITHIN_S - 20 and pace.wait_s("ben") == 0.0
    now = WITHIN_S
    assert pace.wait_s("ada") == 0.0


def test_both_ways_of_sending_are_counted_together(studio: Studio) -> None:
    cleo, grace = studio.signed_in("id-of-cleo"), studio.signed_in("id-of-grace")
    with contextlib.closing(cleo), contextlib.closing(grace):
        sent = [cleo.put(f"/studio/api/data/rows-{n}.csv", content=b"a,b\n1,2\n").status_code for n in range(UPLOADS + 1)]
        assert 429 in sent and set(sent[: sent.index(429)]) == {201}
        refused = cleo.post("/gradio_api/upload", files={"files": ("x.csv", b"a,b\n1,2\n")})
        assert refused.status_code == 429 and "very many uploads" in refused.text
        assert grace.post("/gradio_api/upload", files={"files": ("x.csv", b"a,b\n1,2\n")}).status_code == 200
