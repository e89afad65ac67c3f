"""How a program's rows become tokens: the same tokens and labels as in a run (engine/worker/tokens.py), in few lines.

The functions of each kind of rows lead to one called `tokens`, which gives a row's token ids and its labels.
"""

from __future__ import annotations

READ = '''
def rows_of(name):
    """The rows of a file, one JSON object a line; a file that is not there has none."""
    file = DATA / name
    return [json.loads(line) for line in file.open(encoding="utf-8")] if file.is_file() else []
'''

CUT = '''
def cut(row, max_length=MAX_LENGTH):
    """A row as tokens, cut at its end; None where nothing is left to learn, or where the chat template refuses it."""
    try:
        ids, labels = tokens(row)
    except Exception as error:  # templates are programs, and raise what they like
        print(f"A row was left out: {error}")
        return None
    ids, labels = ids[:max_length], labels[:max_length]
    # the first token has nothing before it to be predicted from
    return {"input_ids": ids, "labels": labels} if any(label != -100 for label in labels[1:]) else None
'''

TEXT = '''
def tokens(row):
    """A text between the tokens that begin and end one for this model; every token is learned."""
    opening = [token for token in tokenizer("")["input_ids"][:1] if token == tokenizer.bos_token_id]
    ids = [*opening, *tokenizer(row["text"], add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    return ids, list(ids)
'''

TALK = '''
def tokens(row):
    """A talk in the model's chat template; labels are its tokens where it is learned, and -100 elsewhere."""
    if "messages" in row:
        talk, given = row["messages"], 0
    else:  # a question, which may be a talk itself, and the answer that is learned
        talk, given = [], len(row["prompt"]) if isinstance(row["prompt"], list) else 0
        for role, part in (("user", row["prompt"]), ("assistant", row["completion"])):
            talk += part if isinstance(part, list) else [{"role": role, "content": part}]
    tools = row.get("tools") or None
    talk, left_out = shown(talk, tools, given)
    return answers(talk, tools, given - left_out)


def shown(talk, tools, given):
    """The talk as the template can show it, without a greeting that it refuses, and how many turns are left out."""

    def text(turns):
        return tokenizer.apply_chat_template(turns, tools=tools, tokenize=False)

    silent = [{name: value for name, value in turn.items() if name != "tool_calls"} for turn in talk]
    if silent != talk and text(silent) == text(talk):  # an empty answer would be learned
        raise ValueError("the chat template has no place for the call of a tool")
    asked = next((place for place, turn in enumerate(talk[:given]) if turn["role"] == "user"), 0)
    begun = [turn for turn in talk[:asked] if turn["role"] != "assistant"]
    if len(begun) < asked:
        try:
            text(talk)
        except Exception:  # many templates want the user to begin
            return begun + talk[asked:], asked - len(begun)
    return talk, 0
'''

MARKED = '''
def answers(talk, tools, given):
    """The chat template marks what the assistant says; turns before number `given` are read and not learned."""
    made = tokenizer.apply_chat_template(talk, tools=tools, return_dict=True, return_assistant_tokens_mask=True)
    ids, said = list(made["input_ids"]), list(made["assistant_masks"])
    turns = itertools.accumulate(int(now and not before) for before, now in zip([0, *said], said))
    spoken = sum(turn["role"] == "assistant" for turn in talk[:given])
    return ids, [token if now and turn > spoken else -100 for token, now, turn in zip(ids, said, turns)]
'''

BY_PREFIX = '''
def answers(talk, tools, given):
    """Answers are found by rendering the talk up to each of them; turns before number `given` are read and not learned."""

    def text(count, **more):
        return tokenizer.apply_chat_template(talk[:count], tools=tools, tokenize=False, **more)

    whole, spans = text(len(talk)), []
    for place, turn in enumerate(talk):
        if turn["role"] == "assistant" and place >= given:
            before, upto = text(place, add_generation_prompt=True), text(place + 1)
            content = turn["content"] or ""
            said = [part.strip() for part in (content, content.rpartition("</think>")[2])]
            turned = [part + upto.rpartition(part)[2].rstrip("\\n") for part in said if part and part in upto]
            amid = next((part for part in turned if whole.startswith(part, len(before))), "")
            if whole.startswith(before) and whole.startswith(upto):
                spans.append((len(before), len(upto.rstrip("\\n"))))
            elif whole.startswith(before) and amid:  # an earlier answer, which is written otherwise once more follows
                spans.append((len(before), len(before) + len(amid)))
            elif place == len(talk) - 1:
                raise ValueError("the chat template rewrites earlier turns")
    made = tokenizer(whole, add_special_tokens=False, return_offsets_mapping=True)
    inside = [any(a < end and begin < b for begin, end in spans) for a, b in made["offset_mapping"]]
    return list(made["input_ids"]), [token if learned else -100 for token, learned in zip(made["input_ids"], inside)]
'''

WHICH = """
# a template may mark what the assistant says by {% generation %}
answers = marked_answers if re.search(r"generation -?%}", tokenizer.chat_template) else found_answers
"""

EVERY_TOKEN = '''
def answers(talk, tools, given):
    """Every token is learned, questions too."""
    ids = list(tokenizer.apply_chat_template(talk, tools=tools, return_dict=True)["input_ids"])
    return ids, list(ids)
'''

STOP = '''
def name_the_end(model):
    """Say in the model's own generation settings which token ends an answer, so that every program stops there."""
    written = [token for token in tokens({"prompt": "?", "completion": "!"})[1] if token != -100]
    last = next((token for token in reversed(written) if tokenizer.decode([token]).strip()), None)
    known = model.generation_config.eos_token_id
    known = known if isinstance(known, list) else [tokenizer.eos_token_id if known is None else known]
    if last in tokenizer.added_tokens_decoder and last not in known:
        model.generation_config.eos_token_id = [*known, last]
'''

BLOCKS = '''
def joined(rows):
    """All texts end to end, cut into blocks of MAX_LENGTH tokens; `seq_lengths` are the texts that lie in a block."""
    ids = [token for row in rows for token in row["input_ids"]]
    ends, made = list(itertools.accumulate(len(row["input_ids"]) for row in rows)), []
    for start in range(0, len(ids) - 1, MAX_LENGTH):
        end = min(start + MAX_LENGTH, len(ids))
        inside = ends[bisect.bisect_right(ends, start) : bisect.bisect_left(ends, end)]
        edges = [start, end] if CROSS_DOCUMENTS else [start, *inside, end]
        lengths = [b - a for a, b in itertools.pairwise(edges)]
        made.append({"input_ids": ids[start:end], "labels": ids[start:end], "seq_lengths": lengths})
    return made
'''

PACKED = '''
def joined(rows, window=1000):
    """Rows packed into places of MAX_LENGTH tokens: first fit, the longest of each thousand first."""
    made = []
    for start in range(0, len(rows), window):
        places = []
        for row in sorted(rows[start : start + window], key=lambda row: -len(row["input_ids"])):
            length = len(row["input_ids"])
            place = next((place for place in places if sum(place["seq_lengths"]) + length <= MAX_LENGTH), None)
            if place is None:
                place = {"input_ids": [], "labels": [], "seq_lengths": []}
                places.append(place)
            place["input_ids"] += row["input_ids"]
            place["labels"] += row["labels"]
            place["seq_lengths"].append(length)
        made += places
    if CROSS_DOCUMENTS:
        made = [{**place, "seq_lengths": [sum(place["seq_lengths"])]} for place in made]
    return made
'''

TEMPLATES = """
CHATML = {chatml}
# without <|im_end|> in the vocabulary, the token that ends a text ends a turn
END = "'<|im_end|>'" if "<|im_end|>" in tokenizer.get_vocab() else "eos_token"
tokenizer.chat_template = BEGIN + CHATML.replace("'<|im_end|>'", END)
"""
