"""The page "New run" as a browser uses it: Gradio's own queue, one question at a time."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

# A look at any file takes less; a request that takes longer hangs.
HANGS_S = 120


class NewRun:
    """The page "New run" at an address."""

    def __init__(self, address: str, session: str = "fuzz") -> None:
        # one page that stays open: Gradio keeps something for each
        self.address, self.session = address, session
        config = self._get("/config")
        mine = set(config["page"]["new"]["dependencies"])
        self._events = [event for event in config["dependencies"] if event["id"] in mine]
        self._parts = {component["id"]: component["props"] for component in config["components"]}

    def look(self, **chosen: Any) -> Any:
        """What the page shows of the data for these values of the form's fields.

        Raises:
            AssertionError: an exception came through.
        """
        return self.ask("look", **{f"field-{name}": value for name, value in chosen.items()})

    def ask(self, event: str, /, **chosen: Any) -> Any:
        """What an event answers, such as "preset", when these components (by `elem_id`) hold these values.

        Raises:
            AssertionError: an exception came through.
        """
        asked = next(e for e in self._events if e["api_name"].startswith(event))
        inputs = [self._parts[number] for number in asked["inputs"]]
        data = [chosen.get(str(props.get("elem_id")), props.get("value")) for props in inputs]
        self._get("/gradio_api/queue/join", {"data": data, "fn_index": asked["id"], "session_hash": self.session})
        request = urllib.request.Request(f"{self.address}/gradio_api/queue/data?session_hash={self.session}")
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
