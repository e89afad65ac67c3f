"""What made the starter model and the samples: the town, its texts, the tokenizer, the training, the measuring."""
