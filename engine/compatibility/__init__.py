"""Names and files of AutoTrain and its descendants, in the terms of this app. Used by flags, YAML and Python alike.

names.py is the table, one line for each documented name; meanings.py what a line can say; translation.py reads settings
with it; autotrain_file.py knows the shape of their YAML.
"""

from engine.compatibility.names import TABLE
from engine.compatibility.translation import OlderNameWarning, Translation, is_older, trainer_of, translated

__all__ = ["TABLE", "OlderNameWarning", "Translation", "is_older", "trainer_of", "translated"]
