"""What scores answers in a program: the reward functions of a run, written out, and its reward model.

A reward function is copied out of engine/rewards/ with all that it uses, so that it gives the same scores without us.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from engine import rewards
from engine.chat_templates import PLAIN
from engine.export.model_text import begun_by
from engine.export.origin import origin
from engine.export.recipe import Code, Recipe, Setting, value

_PROMPTS = '''
def prompts(name):
    """Prompts as TRL takes them, beside their whole rows: as text, since a row's columns may have any name and kind."""
    made = []
    for row in rows_of(name):
        prompt = row["prompt"]
        talk = prompt if isinstance(prompt, list) else [{"role": "user", "content": prompt}]
        ids = tokenizer.apply_chat_template(talk, add_generation_prompt=True, return_dict=True)["input_ids"]
        if len(ids) <= (MAX_LENGTH or len(ids)):  # cut, it would ask something else
            made.append({"prompt": talk, "row": json.dumps(row)})
    return made
'''

_REWARD = '''
def reward(prompts, completions, row, **_):
    """What TRL asks: one number for each answer."""
    rows = [json.loads(one) for one in row]
    answers = [completion[0]["content"].strip() for completion in completions]
    return total([one["prompt"] for one in rows], answers, rows)
'''

_TOTAL = '''
def total(asked, answers, rows):
    """The weighted sum of all scores, one for each answer."""
    columns = [[weight * float(one) for one in score(asked, answers, rows)] for weight, score in REWARDS]
    return [math.fsum(parts) for parts in zip(*columns)]
'''

_MODEL = '''
judge = AutoModelForSequenceClassification.from_pretrained(REWARD_MODEL, dtype=torch.float32{labels})
{merged}judge = judge.eval().requires_grad_(False).to("cpu" if {on_cpu} else torch.accelerator.current_accelerator())
judge_tokenizer = AutoTokenizer.from_pretrained(REWARD_TOKENIZER)
if judge_tokenizer.chat_template is None:
    BEGIN = {begin}
    judge_tokenizer.chat_template = BEGIN + {plain}


def reward_model(asked, answers, rows):
    """The reward model's score of each talk, read in its own template; one that is too long loses its beginning."""
    scores, longest = [], getattr(judge.config, "max_position_embeddings", None) or 1 << 30
    for prompt, answer in zip(asked, answers):
        talk = prompt if isinstance(prompt, list) else [{{"role": "user", "content": prompt}}]
        talk = [*talk, {{"role": "assistant", "content": answer}}]
        ids = judge_tokenizer.apply_chat_template(talk, return_dict=True)["input_ids"][-longest:]
        with torch.no_grad():
            scores.append(float(judge(input_ids=torch.tensor([ids], device=judge.device)).logits[0, 0]))
    return scores
'''
_JUDGE_MERGED = """for folder in REWARD_ADAPTERS:
    judge = PeftModel.from_pretrained(judge, folder).merge_and_unload()
"""

_OWN_FILE = '''
def from_file(file, name):
    """A function of a person's own Python file."""
    return runpy.run_path(str(HERE / file))[name]
'''


def judged(recipe: Recipe, p: Any, root: Path, *, beside: bool) -> None:
    """Prompts, and a function `reward` for TRL that scores answers as the run (one of `root`) did; with `beside` files go
    along.
    """
    recipe.needs("math")
    recipe.pieces.append(_PROMPTS)
    made = list[str]()
    copied = _Copied()
    for line in p.rl_rewards:
        rule = rewards.rule(line)
        assert rule.kind is not None  # settings with a line that is no reward are no settings
        if rule.argument and rule.kind is rewards.KINDS["python"]:
            scorer = _of_a_file(recipe, rule.argument, beside)
        else:
            copied.take(sys.modules[rule.kind.make.__module__], rule.kind.make.__name__)
            scorer = f"{rule.kind.make.__name__}({value(rule.argument)})"
        made.append(f"    ({rule.weight!r}, {scorer}),")
    recipe.imports |= copied.imports
    recipe.pieces += copied.pieces
    if p.rl_reward_model_path:
        recipe.pieces.append(_reward_model(recipe, p, root))
        made.append(f"    ({p.rl_reward_model_weight!r}, reward_model),")
    weights = "# what an answer's score is the sum of: a weight and a rule each"
    recipe.pieces += ["\n".join([weights, "REWARDS = [", *made, "]"]), _TOTAL, _REWARD]


def _of_a_file(recipe: Recipe, argument: str, beside: bool) -> str:
    """A function of a person's own file, which lies beside the program or stays where it is."""
    recipe.needs("runpy")
    if _OWN_FILE not in recipe.pieces:
        recipe.pieces.append(_OWN_FILE)
    file, _, name = argument.rpartition(":")
    place = next((place for place, kept in recipe.files.items() if str(kept) == file), None) if beside else file
    if place is None:
        place = f"rewards/{len(recipe.files) + 1}/{Path(file).name}"
        recipe.files[place] = Path(file)
    return f"from_file({value(place)}, {value(name)})"


def _reward_model(recipe: Recipe, p: Any, root: Path) -> str:
    base = origin(p.rl_reward_model_path, root)
    recipe.needs("torch")
    recipe.needs("transformers", "AutoModelForSequenceClassification")
    recipe.constants["REWARD_MODEL"] = Setting(base.base, base.told)
    recipe.constants["REWARD_TOKENIZER"] = Setting(base.tokenizer)
    if base.adapters:
        recipe.needs("peft", "PeftModel")
        recipe.constants["REWARD_ADAPTERS"] = Setting(list(base.adapters))
    on_cpu = Code("True") if p.device == "cpu" else Code("not torch.accelerator.is_available()")
    return _MODEL.format(
        labels=", num_labels=1" if base.adapters else "",
        merged=_JUDGE_MERGED if base.adapters else "",
        on_cpu=on_cpu.text,
        begin=begun_by("judge_tokenizer"),
        plain=value(PLAIN),
    )


@dataclass
class _Copied:
    """Functions of ours, and what they use, as text; what they import from elsewhere."""

    imports: set[tuple[str, str]] = field(default_factory=set)
    pieces: list[str] = field(default_factory=list)
    _seen: set[tuple[str, str]] = field(default_factory=set)

    def take(self, module: ModuleType, name: str) -> None:
        """Copy what `module` calls `name`, after whatever it needs."""
        if (module.__name__, name) in self._seen:
            return
        self._seen.add((module.__name__, name))
        source = Path(str(module.__file__)).read_text(encoding="utf-8")
        tree = ast.parse(source)
        for node in tree.body:
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                self._imported(node, name)
            elif name in _defined(node):
                for used in _names(node):
                    self.take(module, used)
                self.pieces.append(_text(source, node))

    def _imported(self, node: ast.Import | ast.ImportFrom, name: str) -> None:
        if name not in {alias.asname or alias.name for alias in node.names}:
            return
        if isinstance(node, ast.Import):
            self.imports.add((name, ""))
        elif str(node.module).startswith("engine."):
            self.take(sys.modules[str(node.module)], name)
        else:
            self.imports.add((str(node.module), name))


def _defined(node: ast.stmt) -> set[str]:
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return {target.id for target in targets if isinstance(target, ast.Name)}


def _names(node: ast.stmt) -> Iterator[str]:
    """Every name that is used within, in the order of the text; those of its own variables lead to nothing."""
    yield from dict.fromkeys(found.id for found in ast.walk(node) if isinstance(found, ast.Name))


def _text(source: str, node: ast.stmt) -> str:
    """The statement with the comment lines right above it."""
    lines = source.splitlines()
    first = node.lineno - 1
    while first and lines[first - 1].startswith("#"):
        first -= 1
    return "\n".join(lines[first : node.end_lineno])
