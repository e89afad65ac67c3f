"""What a page says on a Space and in a container: how to have one of one's own, and what is not as it should be."""

from __future__ import annotations

from html import escape

from engine import api


def duplicate_button() -> str:
    """A link for the header that makes the reader a Space of their own; nothing elsewhere."""
    host = api.hosting.here()
    if not host.space:
        return ""
    return (
        f'<a class="st-button small st-duplicate" href="{escape(host.duplicate_address)}" target="_blank" rel="noopener" '
        'title="Make a Space of your own with this studio in it, private if you like">Duplicate<span>this Space</span></a>'
    )


def notices() -> str:
    """What a place has to say on every page, and what to do about it; nothing where all is well."""
    host = api.hosting.here()
    said = [_forgets(host)] if host.forgets else []
    if host.idle_gpu:
        where = f" in {_settings(host)}" if host.space else ""
        do = f"Set the variable TORCH to cuda{where}; it is then built anew." if host.space else "Build it with TORCH=cuda."
        said.append(("The GPU lies idle.", f"This image holds PyTorch for the processor. {do}"))
    return "".join(
        f'<aside class="st-note warning st-notice" role="note"><strong>{title}</strong> {text}</aside>' for title, text in said
    )


def _forgets(host: api.hosting.Host) -> tuple[str, str]:
    why = f" There is a storage, but it cannot be used. {escape(host.trouble)}" if host.trouble else ""
    return (
        "Runs are not kept here.",
        f"When this Space sleeps or restarts, runs, models and uploads are gone.{why} To keep them, mount a storage at "
        f"{api.hosting.SPACE_STORAGE} in {_settings(host)}; otherwise take a model along as soon as it is done.",
    )


def _settings(host: api.hosting.Host) -> str:
    address = escape(host.settings_address)
    return f'<a href="{address}" target="_blank" rel="noopener">this Space’s settings</a>'
