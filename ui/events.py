"""How the events of our pages are registered with Gradio.

Values come as the browser holds them (`preprocess`). Gradio would otherwise check a choice against the list that *this*
server last sent to *this* page, and refuse a page that is older than the server everything it shows. What was chosen is
judged where it is used.
"""

from __future__ import annotations

from typing import Any

# For what begins something: the page shows that it is on its way.
BEGINS: dict[str, Any] = {"api_visibility": "private", "preprocess": False}
# The last call counts: one that comes while another is answered waits for it and is not dropped, as Gradio would.
PRIVATE: dict[str, Any] = {**BEGINS, "show_progress": "hidden", "trigger_mode": "always_last"}
# A file comes as the path that Gradio stored it under.
FILE: dict[str, Any] = {**PRIVATE, "preprocess": True}
