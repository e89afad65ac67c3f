"""A run as a program of plain TRL, transformers and peft, and as settings. No torch: programs are written here, not run."""
