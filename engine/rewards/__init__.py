"""Rules that give an answer a score, for the trainers that learn from scores. Plain Python, no torch.

`read(lines)` makes `Rewards` of what a person wrote, one reward a line; docs/rewards.md shows each kind.
"""

from engine.rewards.lines import KINDS, Kind, Rule, python_lines, read, rule, written
from engine.rewards.reward import Reward, Rewards, Row

__all__ = ["KINDS", "Kind", "Reward", "Rewards", "Row", "Rule", "python_lines", "read", "rule", "written"]
