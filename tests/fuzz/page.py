"""The data step of the page as a browser uses it: Gradio's own queue, one question at a time."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

# A look at any file takes less; a request that takes longer hangs.
HANGS_S = 120


class NewRun:
    """The page "New run" at an address."""

    def __init__(self, address: str) -> None:
        self.address = address
        config = self._get("/config")
        mine = set(config["page"]["new"]["dependencies"])
        self._look = next(d for d in config["dependencies"] if d["id"] in mine and d["api_name"].startswith("look"))
        parts = {component["id"]: component["props"] for component in config["components"]}
        self._inputs = [parts[number] for number in self._look["inputs"]]

    def look(self, **chosen: Any) -> Any:
        """What the page shows of the data for these values of the form's fields.

        Raises:
            AssertionError: an exception came through.
        """
        session = "fuzz"  # one page that stays open: Gradio keeps something for each, until its connection ends
        fields = [str(props.get("elem_id")).removeprefix("field-") for props in self._inputs]
        data = [chosen.get(name, props.get("value")) for name, props in zip(fields, self._inputs, strict=True)]
        self._get("/gradio_api/queue/join", {"data": data, "fn_index": self._look["id"], "session_hash": session})
        request = urllib.request.Request(f"{self.address}/gradio_api/queue/data?session_hash={session}")
        with urllib.request.urlopen(request, timeout=HANGS_S) as stream:
            # to its end, as a browser does: who hangs up early ends what the same page asks next
            told = [json.loads(line[5:]) for line in stream if line.startswith(b"data:")]
        for message in told:
            if message.get("msg") == "process_completed":
                assert message["success"], message["output"]
                return message["output"]["data"]
        raise AssertionError(f"the page never got its answer, but {told}")

    def _get(self, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.address}{path}", data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=HANGS_S) as reply:
            return json.load(reply)
