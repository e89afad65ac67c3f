"""The studio itself, put on a Hugging Face Space."""
