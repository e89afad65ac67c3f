"""The Hugging Face Hub: finding models and data there, and fetching them. Its client is imported where it is used."""
