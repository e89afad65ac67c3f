"""Runs as directories: create, watch, queue, start, stop, list. No torch, no transformers, no page."""
