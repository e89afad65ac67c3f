"""Rows of answers that are compared or rated, as a program reads them and lays them side by side.

The tokens are those of engine/worker/pairs.py and engine/worker/feedback.py; a run lays them end to end instead.
"""

from __future__ import annotations

PADDED = '''
def padded(texts):
    """Texts side by side, padded on the right. What is learned of them is the "completion"."""
    longest = max(len(text["input_ids"]) for text in texts)

    def side_by_side(key, filling):
        return torch.tensor([text[key] + [filling] * (longest - len(text[key])) for text in texts])

    lengths = torch.tensor([len(text["input_ids"]) for text in texts])
    return {
        "input_ids": side_by_side("input_ids", tokenizer.pad_token_id),
        "attention_mask": (torch.arange(longest) < lengths[:, None]).long(),
        "completion_mask": (side_by_side("labels", -100) != -100).long(),
    }
'''

PAIRS = '''
def pairs(name):
    """Each prompt with its better and with its worse answer."""
    made = []
    for row in rows_of(name):
        texts = {side: cut({"prompt": row["prompt"], "completion": row[side]}) for side in ("chosen", "rejected")}
        if all(texts.values()):
            made.append(texts)
    return made


def collate(rows):
    """The better answers of a batch, then the worse ones, as DPOTrainer takes them."""
    batch = padded([row[side] for side in ("chosen", "rejected") for row in rows])
    for known in ("ref_chosen_logps", "ref_rejected_logps"):
        if known in rows[0]:
            batch[known] = torch.tensor([row[known] for row in rows])
    return batch
'''

WHOLE_PAIRS = """
def whole_pairs(name):
    \"\"\"Each prompt with its better and with its worse answer, read whole: a pair that would be cut is left out.\"\"\"
    made = []
    for row in rows_of(name):
        texts = {side: cut({"prompt": row["prompt"], "completion": row[side]}, None) for side in ("chosen", "rejected")}
        if all(text and len(text["input_ids"]) <= MAX_LENGTH for text in texts.values()):
            ids = {f"{side}_ids": text["input_ids"] for side, text in texts.items()}
            made.append({**ids, "margin": float(row.get("margin") or 0)})
    return made
"""

DEALT = """
def dealt(liked):
    \"\"\"An order in which every batch has its share of liked and of disliked answers.\"\"\"
    draw, liked = np.random.default_rng(SEED), np.array(liked)
    few, many = sorted([draw.permutation(np.flatnonzero(kind)) for kind in (liked, ~liked)], key=len)
    if not len(few):  # held-out answers may be of one kind
        return list(range(len(liked)))
    order = []
    for start in range(0, len(liked), BATCH_SIZE):
        end = min(start + BATCH_SIZE, len(liked))
        first, last = start * len(few) // len(liked), end * len(few) // len(liked)
        order.append(draw.permutation(np.concatenate([few[first:last], many[start - first : end - last]])))
    if len(order[-1]) == 1 < BATCH_SIZE:  # a lone row in the last batch is joined by one of the other kind
        lone = order[-1][0]
        order.append((few if liked[lone] != liked[few[0]] else many)[:1])
    return np.concatenate(order).tolist()
"""

RATED = """
def rated(name):
    \"\"\"Answers with a thumb, each beside its prompt with an answer to another prompt of the batch.\"\"\"
    found = [(text, bool(row["label"])) for row in rows_of(name) if (text := cut(row))]
    order = dealt([liked for _, liked in found])
    rows = [{"own": found[place][0], "label": found[place][1]} for place in order]
    for place, row in enumerate(rows if CROSSED else []):
        row["other"] = crossed(row["own"], rows[partner(rows, place)]["own"])
    return rows


def prompt_of(text):
    return text["input_ids"][: next(place for place, label in enumerate(text["labels"]) if label != -100)]


def partner(rows, place):
    \"\"\"The next row of the batch whose prompt is another one; a batch of one row looks beyond itself.\"\"\"
    first = place - place % BATCH_SIZE
    size = min(BATCH_SIZE, len(rows) - first)
    others = [first + (place - first + step) % size for step in range(1, size)] or [(place + 1) % len(rows)]
    mine = prompt_of(rows[place]["own"])
    return next((other for other in others if prompt_of(rows[other]["own"]) != mine), others[0])


def crossed(asked, answered):
    \"\"\"One row's prompt with another row's answer: how likely these become is how far the model has drifted.\"\"\"
    prompt, start = prompt_of(asked), len(prompt_of(answered))
    labels = [-100] * len(prompt) + answered["labels"][start:]
    return {"input_ids": (prompt + answered["input_ids"][start:])[:MAX_LENGTH], "labels": labels[:MAX_LENGTH]}


def collate(rows):
    \"\"\"A batch as KTOTrainer takes it, the crossed answers under names with KL_.\"\"\"
    batch = {**padded([row["own"] for row in rows]), "label": torch.tensor([row["label"] for row in rows])}
    if CROSSED:
        batch |= {f"KL_{key}": part for key, part in padded([row["other"] for row in rows]).items()}
    for known in ("ref_logps", "ref_KL_logps"):
        if known in rows[0]:
            batch[known] = torch.tensor([row[known] for row in rows])
    return batch


class WholeBatches(Sampler):
    \"\"\"Rows batch by batch as they were dealt, the batches in a new order every pass.\"\"\"

    def __init__(self, rows):
        self.rows, self.passed = rows, 0

    def __len__(self):
        return self.rows

    def set_epoch(self, epoch):
        self.passed = epoch

    def __iter__(self):
        full = self.rows // BATCH_SIZE
        for batch in np.random.default_rng((SEED, self.passed)).permutation(full):
            yield from range(int(batch) * BATCH_SIZE, (int(batch) + 1) * BATCH_SIZE)
        yield from range(full * BATCH_SIZE, self.rows)
"""

BATCH_BY_BATCH = """
    def _get_train_sampler(self, train_dataset=None):
        return WholeBatches(len(self.train_dataset))
"""
