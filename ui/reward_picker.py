"""Choosing reward functions without knowing how they are written: a kind, what it is asked, how much it counts, Add.

The lines of the setting stay the truth; here they are put into words, and new ones are made by the engine.
"""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr

from engine import api
from engine.errors import ParamError, StudioError
from ui.reach import programs_allowed, refuse_foreign
from ui.words import coded

_ABOUT = (
    "The model writes answers of its own, each gets a score, and it learns to score higher. Say what makes an answer good: "
    "rules, a reward model, or both. All scores, each times its weight, are added up."
)


class RewardPicker:
    """The components, to be made where they should stand; `connect` says what happens with them."""

    def __init__(self) -> None:
        kinds = {name: kind for name, kind in api.rewards.KINDS.items() if programs_allowed() or not _is_program(name)}
        first = next(iter(kinds))
        gr.HTML(f'<p class="st-soft group-note">{_ABOUT}</p>', apply_default_css=False)
        self.rules = gr.HTML("", apply_default_css=False, elem_id="reward-rules")
        with gr.Row(elem_id="reward-picker", equal_height=False):
            self.kind = gr.Dropdown(
                [(kind.title, name) for name, kind in kinds.items()],
                value=first,
                label="An answer scores when it …",
                elem_id="reward-kind",
                interactive=True,
                min_width=230,
                scale=3,
            )
            with gr.Column(min_width=230, scale=4):
                asks = kinds[first].asks
                self.argument = gr.Textbox(label=asks, elem_id="reward-argument", max_lines=1, interactive=True)
                self.column = gr.Dropdown([], visible=False, elem_id="reward-column", interactive=True)
            self.weight = gr.Textbox("1", label="Weight", elem_id="reward-weight", max_lines=1, min_width=90, scale=1)
            self.add = gr.Button("Add", elem_id="reward-add", min_width=90, scale=1, variant="primary")
        self.says = gr.HTML(says_html(first), apply_default_css=False, elem_id="reward-says")

    def look(self, name: str, columns: list[str] | None) -> list[Any]:
        """What the chosen kind asks for, and what it gives."""
        kind = api.rewards.KINDS[name]
        free = "" if kind.needed else " (may stay empty)"
        text = gr.update(visible=not kind.of_column, label=kind.asks + free, placeholder=f"such as {kind.argument}", value="")
        first = columns[0] if columns else None
        return [
            text,
            gr.update(visible=kind.of_column, label=kind.asks, choices=columns or [], value=first),
            says_html(name, columns),
        ]

    def added(self, name: str, argument: str, column: str | None, weight: str, lines: str) -> list[Any]:
        """The lines with the new one and empty boxes for the next, or what is wrong with a box, said below it."""
        try:
            line = self._line(name, argument, column, weight)
        except ParamError as error:
            return [gr.skip(), gr.skip(), gr.skip(), wrong_html(error)]
        return ["\n".join([*(lines or "").strip().splitlines(), line]), "", "1", says_html(name)]

    def _line(self, name: str, argument: str, column: str | None, weight: str) -> str:
        asked = column if api.rewards.KINDS[name].of_column else argument
        line = api.rewards.written(name, str(asked or ""), str(weight or ""))
        refuse_foreign({"rl_rewards": [line]})
        return line


def _is_program(name: str) -> bool:
    return bool(api.rewards.python_lines([f"{name}: x"]))


def columns_of(held: dict[str, Any]) -> list[str] | None:
    """The columns that an answer can be compared with; None while there is no data that says."""
    try:
        refuse_foreign({"data_path": held.get("data_path")})
        form, mapping = held.get("data_format"), held.get("column_mapping")
        return api.inspect_data(held.get("data_path") or "", None, form=form or None, mapping=mapping or None).comparable
    except StudioError:  # said beside the data
        return None


def wrong_html(error: ParamError) -> str:
    """Which box is wrong and why."""
    said = " ".join(f"{'Weight: ' if p.field == 'weight' else ''}{p.message}" for p in error.problems)
    return f'<p class="lacking" role="alert">{coded(said)}</p>'


def says_html(name: str, columns: list[str] | None = None) -> str:
    """What a kind gives."""
    kind = api.rewards.KINDS[name]
    none = kind.of_column and columns == []
    lack = ' <strong class="lacking">Your data has no column besides the prompt, so there is nothing to compare with.</strong>'
    return f'<p class="st-soft">{coded(kind.gives)}{lack if none else ""}</p>'


def rules_html(held: dict[str, Any]) -> str:
    """Each line in words, with a button that takes it out; what is still to do where there is none."""
    lines, judge = held.get("rl_rewards") or [], held.get("rl_reward_model_path")
    if not lines and judge:
        return '<p class="st-note">The reward model alone scores the answers. Rules can be added to it.</p>'
    if not lines:
        return (
            '<p class="st-note warning"><strong>Nothing scores the answers yet.</strong> Choose a rule here and press Add, '
            "or name a reward model below.</p>"
        )
    rules = [api.rewards.rule(line) for line in lines]
    compares = any(rule.kind and rule.kind.of_column for rule in rules)
    columns = columns_of(held) if compares else None
    return f'<ul class="rules">{"".join(_rule(n, rule, columns) for n, rule in enumerate(rules))}</ul>'


def _rule(number: int, rule: Any, columns: list[str] | None) -> str:
    if rule.kind is None:
        words, small = f"<code>{escape(rule.line)}</code>", f'<span class="lacking">{coded(rule.wrong)}</span>'
        weight = "?"
    else:
        weight = f"{rule.weight:g} ×".replace("-", "−")
        asked = f": <em>{escape(rule.argument)}</em>" if rule.argument else ""
        words, small = f"It {escape(rule.kind.title)}{asked}", coded(rule.kind.gives)
        if rule.kind.of_column and columns is not None and rule.argument not in columns:
            there = ", ".join(columns) or "none but the prompt"
            small = f'<span class="lacking">The data has no column {escape(rule.argument)}. It has: {escape(there)}.</span>'
    return (
        f'<li><b class="rule-weight">{weight}</b><div dir="auto"><span>{words}</span><small>{small}</small></div>'
        f'<button type="button" class="st-button small" data-remove-line="{number}" '
        f'aria-label="Remove {escape(rule.line)}">Remove</button></li>'
    )
