"""The web page. It speaks to `engine.api` and to nothing else of the engine."""
