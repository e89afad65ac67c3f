"""Halves of broken character pairs, as broken files and some JSON hold them: no browser can be sent one."""

from __future__ import annotations

from typing import Any

from starlette.responses import JSONResponse


def whole(value: Any) -> Any:
    """The same with a question mark for every half of a pair, in all texts inside of lists and mappings."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {whole(key): whole(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [whole(inner) for inner in value]
    return value


class WholeJSON(JSONResponse):
    """JSON of whole characters, whatever it is asked to tell."""

    def render(self, content: Any) -> bytes:
        try:
            return super().render(content)
        except UnicodeEncodeError:
            return super().render(whole(content))
