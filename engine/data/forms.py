"""The forms that rows come in: what each one is called, its roles, and the column names that are taken for them."""

from __future__ import annotations

from dataclasses import dataclass

from engine.spec import RowKind


@dataclass(frozen=True)
class Role:
    """A part that a column plays in a form, and the column names that are taken for it (compared in lower case)."""

    name: str
    label: str
    required: bool
    columns: tuple[str, ...]


@dataclass(frozen=True)
class RowForm:
    """One form: its roles, and the kinds of rows that it can serve, the natural one first."""

    name: str
    label: str
    roles: tuple[Role, ...]
    kinds: tuple[RowKind, ...]


_PROMPT = ("prompt", "question", "query", "instruction", "input", "user", "human", "problem", "ask", "request", "frage")
_PROMPT += ("pregunta", "pergunta", "domanda")  # "question" is French as well
_ANSWER = ("completion", "answer", "response", "output", "assistant", "reply", "solution", "target", "bot", "antwort")
_ANSWER += ("réponse", "reponse", "respuesta", "resposta", "risposta")
# What the question is about; `input` only beside a column that is called a question.
_CONTEXT = ("context", "passage", "background", "paragraph", "document", "article", "story", "kontext", "contexte", "contexto")
_CONTEXT += ("contesto", "input")
_SYSTEM = Role("system", "System prompt", False, ("system", "system_prompt", "systeminstruction", "system_instruction"))
_TOOLS = Role("tools", "Tools", False, ("tools", "functions"))

_VERDICT = ("label", "feedback", "thumbs", "thumb", "rating", "vote", "is_good", "good", "helpful", "is_helpful")
_VERDICT += ("kto_tag",)
_MESSAGES = ("messages", "conversations", "conversation", "chat", "dialog", "dialogue", "dialogs", "turns", "contents", "text")

FORMS = {
    form.name: form
    for form in (
        RowForm(
            "preference",
            "a better and a worse answer to each prompt",
            (
                Role("prompt", "Prompt", False, ("prompt", "question", "query", "instruction", "input", "conversations")),
                Role(
                    "chosen",
                    "Better answer",
                    True,
                    (
                        "chosen",
                        "preferred_output",
                        "chosen_response",
                        "preferred",
                        "accepted",
                        "better",
                        "winner",
                        "better_answer",
                        "good_answer",
                        "best_answer",
                        "chosen_answer",
                        "preferred_answer",
                        "better_response",
                        "good_response",
                        "preferred_response",
                        "good",
                    ),
                ),
                Role(
                    "rejected",
                    "Worse answer",
                    True,
                    (
                        "rejected",
                        "non_preferred_output",
                        "rejected_response",
                        "dispreferred",
                        "declined",
                        "worse",
                        "loser",
                        "worse_answer",
                        "bad_answer",
                        "worst_answer",
                        "rejected_answer",
                        "worse_response",
                        "bad_response",
                        "bad",
                    ),
                ),
                _SYSTEM,
                Role("margin", "Margin", False, ("margin",)),
            ),
            ("preference", "chat", "prompts"),
        ),
        RowForm(
            "feedback",
            "answers with a thumbs up or down",
            (
                Role("prompt", "Prompt", True, _PROMPT),
                Role("completion", "Answer", True, _ANSWER),
                Role("label", "Good or bad", True, _VERDICT),
                _SYSTEM,
            ),
            ("feedback", "chat", "prompts"),
        ),
        RowForm(
            "rated",
            "conversations with a thumbs up or down",
            (
                Role("messages", "Conversation", True, _MESSAGES),
                Role("label", "Good or bad", True, _VERDICT),
                _SYSTEM,
                _TOOLS,
            ),
            ("feedback", "chat", "prompts"),
        ),
        RowForm(
            "messages",
            "conversations as lists of turns",
            (
                Role("messages", "Conversation", True, _MESSAGES),
                _SYSTEM,
                _TOOLS,
            ),
            ("chat", "prompts", "text"),
        ),
        RowForm(
            "alpaca",
            "an instruction, an optional input, and an output",
            (
                Role("instruction", "Instruction", True, ("instruction",)),
                Role("input", "Input", False, ("input", "context")),
                Role("output", "Answer", True, ("output", "response", "answer", "completion")),
                _SYSTEM,
            ),
            ("chat", "prompts", "text"),
        ),
        RowForm(
            "qa",
            "questions and answers",
            (
                Role("prompt", "Question", True, _PROMPT),
                Role("completion", "Answer", True, _ANSWER),
                Role("context", "Context", False, _CONTEXT),
                _SYSTEM,
            ),
            ("chat", "prompts", "text"),
        ),
        RowForm(
            "transcript",
            "text with a name before each turn, as in Human: … Assistant: … or Q: … A: …",
            (Role("text", "Transcript", True, ("text", "transcript", "dialogue", "content")), _SYSTEM),
            ("chat", "prompts", "text"),
        ),
        RowForm(
            "text",
            "plain text",
            (Role("text", "Text", True, ("text", "content", "document", "body", "story", "article", "passage")),),
            ("text",),
        ),
        RowForm("prompts", "prompts", (Role("prompt", "Prompt", True, _PROMPT),), ("prompts",)),
    )
}
