"""The web page. It speaks to `engine.api` and to nothing else of the engine."""

from engine import api

# On a Space files live elsewhere. Gradio brings the Hub's client, which reads HF_HOME once: so this comes before Gradio.
api.hosting.settle()
