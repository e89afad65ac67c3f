"""How a part of a page that our own script draws is begun, whichever of the two is there first."""

from __future__ import annotations


def mounting(call: str) -> str:
    """JavaScript for `js_on_load` that runs `call` (such as "Runs.mount(element)") once its script has been loaded."""
    name = call.split(".", 1)[0]
    return f"{{ const begin = () => (window.{name} ? window.{call} : setTimeout(begin, 20)); begin(); }}"
