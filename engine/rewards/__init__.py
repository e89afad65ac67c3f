"""Rules that give an answer a score, for the trainers that learn from scores. Plain Python, no torch.

`read(lines)` makes `Rewards` of what a person wrote, one reward a line; docs/rewards.md shows each kind.
"""

from engine.rewards.lines import python_lines, read
from engine.rewards.reward import Reward, Rewards, Row

__all__ = ["Reward", "Rewards", "Row", "python_lines", "read"]
