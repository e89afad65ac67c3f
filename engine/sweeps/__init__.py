"""One training with several values of some settings: which combinations, their runs, and which of them is best."""
