"""What a page says on a Hugging Face Space: how to have one of one's own, and that nothing stays where nothing stays."""

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
        'title="Make a Space of your own with this studio in it, private if you like">Duplicate this Space</a>'
    )


def storage_notice() -> str:
    """What a Space without storage must say on every page, and what to do about it; nothing elsewhere."""
    host = api.hosting.here()
    if not host.forgets:
        return ""
    why = f" There is a storage, but it cannot be used. {host.trouble}" if host.trouble else ""
    settings = f'<a href="{escape(host.settings_address)}" target="_blank" rel="noopener">this Space’s settings</a>'
    return (
        '<aside class="st-note warning st-forgets" role="note" aria-label="Storage"><strong>Runs are not kept here.</strong> '
        f"When this Space sleeps or restarts, runs, models and uploads are gone.{escape(why)} To keep them, mount a storage "
        f"at {api.hosting.SPACE_STORAGE} in {settings}; otherwise take a model along as soon as it is done.</aside>"
    )
