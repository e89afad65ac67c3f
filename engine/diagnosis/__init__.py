"""What went wrong in a run and the one change most likely to help: small recognisers, in one table. No torch."""

from engine.diagnosis.finding import Change, Finding
from engine.diagnosis.table import findings

__all__ = ["Change", "Finding", "findings"]
