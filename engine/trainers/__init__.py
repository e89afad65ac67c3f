"""One file a trainer: its settings, its SPEC, and the build that runs in the worker. No trainer imports another."""
