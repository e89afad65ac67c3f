"""Writes the generated pages of docs/ from what the code declares: `make docs`, or `python -m engine.reference`."""
