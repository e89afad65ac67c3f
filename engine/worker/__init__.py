"""The processes that hold a model. The only room where torch, transformers, trl and peft are imported at the top."""
