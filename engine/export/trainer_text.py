"""What a program adds to the trainers of TRL and transformers, so that its curve is the run's: each says what and why."""

from __future__ import annotations

HELD_OUT_BY_TOKEN = '''
class Trainer(SFTTrainer):
    """SFTTrainer whose held-out loss is the mean over tokens, as its training loss is; TRL's is the mean over batches."""

    def evaluate(self, *args, **kwargs):
        total, tokens = 0.0, 0
        self.model.eval()
        with torch.no_grad(), self.compute_loss_context_manager():
            for batch in self.get_eval_dataloader():
                count = int((batch["labels"][:, 1:] != -100).sum())
                total += float(self.compute_loss(self.model, self._prepare_inputs(batch))) * count
                tokens += count
        metrics = {"eval_loss": total / max(tokens, 1)}
        self.log(metrics)
        self.model.train()
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics
'''

# Methods of a class whose rows are tokenised by the program itself.
TOKENISED = """
    def _prepare_dataset(self, dataset, *args, **kwargs):
        return dataset  # tokenised above
"""

# TRL averages each forward pass, and these averages over the step: where the last pass has fewer rows they count for more.
WHOLE_STEP = """
    # the mean over the rows of an optimizer step, also where its last forward pass is not full
    loss_is_scaled_for_ga = True

    def _get_num_items_in_batch(self, batch_samples, device):
        return sum(len(batch["input_ids"]) for batch in batch_samples)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        loss = super().compute_loss(model, inputs)
        return loss if num_items_in_batch is None else loss * len(inputs["input_ids"]) / num_items_in_batch
"""

# The held-out answers of GRPO.
SAME_DICE = """
    def evaluate(self, *args, **kwargs):
        # the same dice at every measurement, and none that the training would have had
        with torch.random.fork_rng():
            torch.manual_seed(SEED)
            return super().evaluate(*args, **kwargs)
"""

EACH_PASS = '''
class EachPass(Sampler):
    """TRL's order of prompts, drawn anew from seed and pass, so that a run that is resumed has the same."""

    def __init__(self, order):
        self.order, self.passed = order, 0

    def __len__(self):
        return len(self.order)

    def set_epoch(self, epoch):
        self.passed = epoch

    def __iter__(self):
        self.order.generator.manual_seed(SEED + self.passed)
        yield from self.order
'''

ORDER_BY_PASS = """
    def _get_train_sampler(self, dataset=None):
        return EachPass(super()._get_train_sampler(dataset))
"""


def subclass(base: str, about: str, *methods: str, name: str = "Trainer") -> str:
    """A class on `base` with these methods."""
    return f'class {name}({base}):\n    """{about}"""\n' + "".join(f"\n{method.strip(chr(10))}\n" for method in methods)
