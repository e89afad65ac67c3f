"""What the page and the command line ask about where runs train."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.errors import StudioError
from engine.params import LLMTrainingParams

if TYPE_CHECKING:
    from engine.device import Device


def device_of(params: LLMTrainingParams) -> Device:
    """What these settings train on: a device of this machine, or a machine that is rented.

    Raises:
        DeviceError: there is none of that name, or it cannot be asked for.
    """
    from engine.compute.target import target_for

    return target_for(params).device(params)


def cost(params: LLMTrainingParams) -> list[tuple[str, str]]:
    """What a rented machine is and costs, in lines of (what, in words); nothing for this machine."""
    from engine.compute.target import target_for

    return target_for(params).cost(params)


def cannot_rent() -> str:
    """Why no machine can be rented from here now; "" when one can."""
    from engine.compute.hf_jobs import TARGET

    return TARGET.unavailable()


def rentable() -> list[tuple[str, str]]:
    """(words, name) of the machines that can be rented, cheapest first; none where nobody is logged in or the Hub is silent."""
    from engine.compute.hf_jobs import TARGET

    try:
        return [(one.words, one.name) for one in TARGET.hardware()]
    except StudioError:
        return []
