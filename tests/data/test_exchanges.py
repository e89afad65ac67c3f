"""Answers beside what they answer: turns in columns, contexts, verdicts on conversations, and what must not be learned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import engine.data
from engine.data import Problem
from engine.errors import DataError
from tests.data.jsonl_rows import jsonl_file, rows_of

SYSTEM = {"role": "system", "content": "Be brief."}
USER = {"role": "user", "content": "When does the harbour open?"}
ANSWER = {"role": "assistant", "content": "At six."}
MORE = {"role": "user", "content": "And closes?"}
LATER = {"role": "assistant", "content": "At ten."}
HELLO = {"role": "assistant", "content": "Welcome!"}
SILENT = {"role": "assistant", "content": ""}
CALL = {"type": "function", "function": {"name": "opening", "arguments": {"place": "harbour"}}}


# ---- questions and answers as turns ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "record",
    [
        {"prompt": [USER], "completion": [ANSWER]},
        {"prompt": [USER], "completion": "At six."},
        {"prompt": USER["content"], "completion": [ANSWER]},
        {"input": [USER], "output": "At six."},
        {"input": {"messages": [USER]}, "output": ANSWER},
        {"prompt": [USER], "completion": [USER, ANSWER]},
    ],
)
def test_questions_and_answers_as_turns(record: dict[str, Any], tmp_path: Path) -> None:
    """TRL writes conversations so, and programs that record what they asked a model."""
    path = jsonl_file(tmp_path, record)
    looked = engine.data.inspect(path)
    assert (looked.form, looked.kind, looked.usable) == ("qa", "chat", 1)
    assert rows_of(path, "chat") == [{"prompt": [USER], "completion": [ANSWER]}]
    assert rows_of(path, "prompts")[0]["prompt"] in ([USER], USER["content"])
    assert rows_of(path, "text") == [{"text": "User: When does the harbour open?\nAssistant: At six."}]


def test_the_turns_of_a_longer_prompt_keep_their_roles(tmp_path: Path) -> None:
    path = jsonl_file(tmp_path, {"system": "Be brief.", "prompt": [USER, ANSWER, MORE], "completion": [LATER]})
    assert rows_of(path, "chat") == [{"prompt": [SYSTEM, USER, ANSWER, MORE], "completion": [LATER]}]


@pytest.mark.parametrize("completion", [[SILENT], [USER], [ANSWER, MORE, SILENT]])
def test_turns_that_are_no_answer_are_refused(completion: Any, tmp_path: Path) -> None:
    (problem,) = rows_of(jsonl_file(tmp_path, {"prompt": [MORE], "completion": completion}), "chat")
    assert isinstance(problem, Problem) and problem.rule == "empty completion" and "answer of the assistant" in problem.message


@pytest.mark.parametrize("answers", [["At six.", "Six."], {"text": ["At six."]}, [{"answer": "At six.", "rank": 1}]])
def test_answers_that_cannot_be_read_are_not_passed_over_in_silence(answers: Any, tmp_path: Path) -> None:
    looked = engine.data.inspect(jsonl_file(tmp_path, {"question": "When?", "answers": answers}))
    assert looked.form == "prompts" and "without" not in looked.form_label + looked.why
    assert "What the column answers holds cannot be read" in looked.why
    assert "cannot be read" not in engine.data.inspect(jsonl_file(tmp_path, {"question": "When?", "level": 3})).why


# ---- what a question is about ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["context", "Passage", "background", "input"])
def test_a_context_is_read_with_its_question(name: str, tmp_path: Path) -> None:
    path = jsonl_file(tmp_path, {"id": "1", "question": "When?", name: "The harbour opens at six.", "answer": "At six."})
    assert engine.data.inspect(path).mapping["context"] == name
    assert rows_of(path, "chat") == [{"prompt": "When?\n\nThe harbour opens at six.", "completion": "At six."}]
    (asked,) = rows_of(path, "prompts")
    assert asked == {"prompt": "When?\n\nThe harbour opens at six.", "id": "1", "answer": "At six."}


def test_no_context_where_there_is_none(tmp_path: Path) -> None:
    path = jsonl_file(tmp_path, {"input": " When? ", "output": "At six."}, {"input": "Where?", "output": "There."})
    assert engine.data.inspect(path).mapping == {"prompt": "input", "completion": "output"}
    assert rows_of(path, "chat")[0] == {"prompt": " When? ", "completion": "At six."}
    nested = jsonl_file(tmp_path, {"question": "When?", "context": {"title": ["A"]}, "answer": "At six."})
    assert rows_of(nested, "chat") == [{"prompt": "When?", "completion": "At six."}]


def test_columns_of_text_that_are_not_used_are_named(tmp_path: Path) -> None:
    record = {"id": "a1", "question": "When?", "answer": "At six.", "hint": "Look at the gate.", "level": 3, "url": "x y"}
    looked = engine.data.inspect(jsonl_file(tmp_path, record))
    assert looked.why == "The columns question, answer hold questions and answers. Not used: hint."
    whole = engine.data.inspect(jsonl_file(tmp_path, {"question": "When?", "answer": "At six."}))
    assert "Not used" not in whole.why
    # rules for answers are given the other columns
    assert "Not used" not in engine.data.inspect(jsonl_file(tmp_path, record), "prompts").why


# ---- thumbs beside conversations -------------------------------------------------------------------------------------


@pytest.mark.parametrize("column", ["messages", "conversations"])
def test_a_thumb_beside_a_conversation_is_for_its_last_answer(column: str, tmp_path: Path) -> None:
    """LLaMA-Factory writes rows for KTO so."""
    turns = [USER, ANSWER, MORE, LATER, {"role": "user", "content": "Thanks."}]
    given = turns if column == "messages" else [{"from": turn["role"], "value": turn["content"]} for turn in turns]
    path = jsonl_file(tmp_path, {column: given, "label": True}, {column: given[:2], "label": False, "system": "Be brief."})
    looked = engine.data.inspect(path)
    assert looked.kind == "feedback" and looked.liked == 0.5 and "thumbs up or down" in looked.why
    assert rows_of(path, "feedback") == [
        {"prompt": [USER, ANSWER, MORE], "completion": [LATER], "label": True},
        {"prompt": [SYSTEM, USER], "completion": [ANSWER], "label": False},
    ]
    assert rows_of(path, "chat") == [{"messages": [USER, ANSWER, MORE, LATER]}], "what was disliked is not learned"
    assert [row["prompt"] for row in rows_of(path, "prompts")] == [[USER, ANSWER, MORE], [SYSTEM, USER]]


def test_tools_go_with_a_rated_conversation(tmp_path: Path) -> None:
    asks = {"role": "assistant", "content": "", "tool_calls": [CALL]}
    record = {
        "messages": [USER, asks, {"role": "tool", "content": "06:00"}, ANSWER],
        "tools": [{"name": "opening"}],
        "label": 1,
    }
    (row,) = rows_of(jsonl_file(tmp_path, record), "feedback")
    assert row["completion"] == [ANSWER] and row["tools"] == [{"name": "opening"}]
    (row,) = rows_of(jsonl_file(tmp_path, record), "chat")
    assert len(row["messages"]) == 4 and row["tools"] == [{"name": "opening"}]


@pytest.mark.parametrize("turns", [[USER], [ANSWER], [USER, SILENT]])
def test_a_thumb_for_no_answer_is_refused(turns: Any, tmp_path: Path) -> None:
    (problem,) = rows_of(jsonl_file(tmp_path, {"messages": turns, "label": True}), "feedback")
    assert isinstance(problem, Problem)


def test_nothing_is_learned_where_nothing_was_liked(tmp_path: Path) -> None:
    path = jsonl_file(tmp_path, *[{"messages": [USER, ANSWER], "label": False}] * 3)
    with pytest.raises(DataError, match="Not one answer has a thumbs up"):
        engine.data.prepare(path, "chat", tmp_path / "out")


def test_a_verdict_that_is_no_thumb_beside_a_conversation_is_told(tmp_path: Path) -> None:
    looked = engine.data.inspect(jsonl_file(tmp_path, {"messages": [USER, ANSWER], "label": "harbours"}))
    assert looked.kind == "chat" and "The column label is not used: it holds 'harbours'" in looked.why


@pytest.mark.parametrize("up", ["thumbs_up", "Thumbs up", "👍🏽", "👍️", "positive", "like"])
@pytest.mark.parametrize("down", ["thumbs-down", "👎🏿", "negative", "dislike"])
def test_words_for_thumbs(up: str, down: str, tmp_path: Path) -> None:
    rated = [{"question": "When?", "answer": "At six.", "feedback": verdict} for verdict in (up, down)]
    assert [row["label"] for row in rows_of(jsonl_file(tmp_path, *rated), "feedback")] == [True, False]


def test_ratings_of_one_to_five_that_begin_with_ones_are_no_thumbs(tmp_path: Path) -> None:
    rows = [{"question": f"When {n}?", "answer": "At six.", "rating": 1 if n < 220 else 5} for n in range(300)]
    looked = engine.data.inspect(jsonl_file(tmp_path, *rows))
    assert looked.kind == "chat" and "The column rating is not used: it holds '1' and nothing else so far" in looked.why
    both = [{**row, "rating": n % 2} for n, row in enumerate(rows)]
    assert engine.data.inspect(jsonl_file(tmp_path, *both)).kind == "feedback"


# ---- what is not learned ---------------------------------------------------------------------------------------------


SILENCES: dict[str, tuple[list[Any], Any]] = {
    "the last": ([USER, ANSWER, MORE, SILENT], {"messages": [USER, ANSWER]}),
    "the first": ([USER, SILENT, MORE, LATER], {"prompt": [USER, SILENT, MORE], "completion": [LATER]}),
    "one between": ([USER, ANSWER, MORE, SILENT, MORE, LATER], "An answer in the middle of it is empty"),
    "the only one": ([USER, SILENT], "no answer of the assistant"),
}


@pytest.mark.parametrize("name", SILENCES)
def test_an_empty_answer_is_not_learned(name: str, tmp_path: Path) -> None:
    given, wanted = SILENCES[name]
    (made,) = rows_of(jsonl_file(tmp_path, {"messages": given}), "chat")
    assert (wanted in made.message) if isinstance(wanted, str) else made == wanted


def test_a_call_in_openais_older_words_is_a_call(tmp_path: Path) -> None:
    older = {"role": "assistant", "content": None, "function_call": {"name": "opening", "arguments": '{"place": "harbour"}'}}
    talk = [USER, older, {"role": "function", "name": "opening", "content": "06:00"}, {**ANSWER, "function_call": None}]
    path = jsonl_file(tmp_path, {"messages": talk})
    (row,) = rows_of(path, "chat")
    assert row["messages"] == [
        USER,
        {"role": "assistant", "content": "", "tool_calls": [CALL]},
        {"role": "tool", "content": "06:00", "name": "opening"},
        ANSWER,
    ]
    (problem,) = rows_of(path, "text")
    assert isinstance(problem, Problem) and problem.rule == "tool call", "a text has no place for it"


GREETED = [HELLO, USER, ANSWER]


def test_a_greeting_is_read_and_not_learned(tmp_path: Path) -> None:
    path = jsonl_file(tmp_path, {"messages": GREETED}, {"system": "Be brief.", "messages": [*GREETED, MORE, LATER]})
    assert rows_of(path, "chat") == [
        {"prompt": [HELLO, USER], "completion": [ANSWER]},
        {"prompt": [SYSTEM, HELLO, USER], "completion": [ANSWER, MORE, LATER]},
    ]
    assert [row["prompt"] for row in rows_of(path, "prompts")] == [[HELLO, USER], [SYSTEM, HELLO, USER, ANSWER, MORE]]
    assert rows_of(path, "text")[0] == {"text": "User: When does the harbour open?\nAssistant: At six."}
    (problem,) = rows_of(jsonl_file(tmp_path, {"messages": [HELLO]}), "chat")
    assert isinstance(problem, Problem) and problem.rule == "no question"


def test_a_greeting_before_pairs_and_thumbs_is_not_learned_either(tmp_path: Path) -> None:
    worse = {"role": "assistant", "content": "Who knows."}
    path = jsonl_file(tmp_path, {"chosen": GREETED, "rejected": [HELLO, USER, worse]})
    assert rows_of(path, "preference") == [{"prompt": [HELLO, USER], "chosen": [ANSWER], "rejected": [worse]}]
    assert rows_of(path, "chat") == [{"prompt": [HELLO, USER], "completion": [ANSWER]}]
    path = jsonl_file(tmp_path, {"messages": GREETED, "label": True})
    assert rows_of(path, "feedback") == [{"prompt": [HELLO, USER], "completion": [ANSWER], "label": True}]
    assert rows_of(path, "chat") == [{"prompt": [HELLO, USER], "completion": [ANSWER]}]
    assert rows_of(jsonl_file(tmp_path, {"prompt": [HELLO, USER]}), "prompts") == [{"prompt": [HELLO, USER]}]


# ---- who speaks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asks", "answers"),
    [("customer", "agent"), ("client", "Operator"), ("visitor", "bot"), ("End-User", "support"), ("customer", "admin")],
)
def test_the_two_sides_of_a_support_chat(asks: str, answers: str, tmp_path: Path) -> None:
    talk = [{"role": asks, "content": USER["content"]}, {"role": answers, "content": "At six."}]
    assert rows_of(jsonl_file(tmp_path, {"messages": talk}), "chat") == [{"messages": [USER, ANSWER]}]


def test_a_name_for_either_side_is_not_guessed(tmp_path: Path) -> None:
    (problem,) = rows_of(jsonl_file(tmp_path, {"messages": [USER, ANSWER, {"role": "admin", "content": "Closed."}]}), "chat")
    assert problem.rule == "unknown role" and "'admin'" in problem.message and "user, assistant" in problem.message


def test_gemini(tmp_path: Path) -> None:
    answer = {"role": "model", "parts": [{"text": "At "}, {"text": "six."}]}
    turns = [{"role": "user", "parts": [{"text": USER["content"]}]}, answer]
    path = jsonl_file(tmp_path, {"systemInstruction": {"role": "system", "parts": [{"text": "Be brief."}]}, "contents": turns})
    assert rows_of(path, "chat") == [{"messages": [SYSTEM, USER, ANSWER]}]
    picture = [{"role": "user", "parts": [{"fileData": {"fileUri": "x"}}]}, answer]
    (problem,) = rows_of(jsonl_file(tmp_path, {"contents": picture}), "chat", form="messages")
    assert isinstance(problem, Problem) and "fileData" in problem.message


@pytest.mark.parametrize("column", ["conversations", "dialog"])
def test_texts_that_take_turns(column: str, tmp_path: Path) -> None:
    """LIMA names nobody: the first text is the user's."""
    lines = [turn["content"] for turn in (USER, ANSWER, MORE, LATER)]
    path = jsonl_file(tmp_path, {column: lines, "source": "stack exchange"})
    assert "taken in turn" in engine.data.inspect(path).why
    assert rows_of(path, "chat") == [{"messages": [USER, ANSWER, MORE, LATER]}]
    asked = engine.data.inspect(jsonl_file(tmp_path, {"question_id": 1, "turns": lines[::2]}))
    assert asked.form != "messages", "these may be the questions alone"


# ---- what lies deeper ------------------------------------------------------------------------------------------------


def _node(name: str, parent: str | None, message: Any, *children: str) -> dict[str, Any]:
    return {"id": name, "message": message, "parent": parent, "children": list(children)}


def _message(role: str, *parts: Any, **more: Any) -> dict[str, Any]:
    return {"author": {"role": role}, "content": {"content_type": "text", "parts": list(parts)}, "recipient": "all", **more}


def _chatgpt(**more: Any) -> dict[str, Any]:
    search = {"author": {"role": "assistant"}, "content": {"content_type": "code", "text": "search"}, "recipient": "browser"}
    found = {"author": {"role": "tool"}, "content": {"content_type": "text", "parts": ["06:00"]}}
    nodes = [
        _node("root", None, None, "sys"),
        _node("sys", "root", _message("system", ""), "q"),
        _node("q", "sys", _message("user", USER["content"]), "bad", "s"),
        _node("s", "q", search, "f"),
        _node("f", "s", found, "a"),
        _node("a", "f", _message("assistant", "At six.")),
        _node("bad", "q", _message("assistant", "Who knows.")),
    ]
    return {"title": "When does it open", "create_time": 1.5, "mapping": {node["id"]: node for node in nodes}, **more}


def test_chatgpts_own_export(tmp_path: Path) -> None:
    """Of every conversation the branch that was read last; what was said to tools, and by them, is left out."""
    path = tmp_path / "conversations.json"
    path.write_text(json.dumps([_chatgpt(current_node="a"), _chatgpt(current_node="bad"), _chatgpt()]))
    looked = engine.data.inspect(path)
    assert (looked.form, looked.kind, looked.mapping) == ("messages", "chat", {"messages": "mapping"})
    good, bad, last = rows_of(path, "chat")
    assert good == last == {"messages": [USER, ANSWER]} and bad["messages"][1]["content"] == "Who knows."


def test_a_picture_in_chatgpts_export_is_refused(tmp_path: Path) -> None:
    talk = _chatgpt(current_node="a")
    talk["mapping"]["q"]["message"]["content"]["parts"] = [{"content_type": "image_asset_pointer"}, "What is this?"]
    good, refused = rows_of(jsonl_file(tmp_path, _chatgpt(current_node="a"), talk), "chat")
    assert good == {"messages": [USER, ANSWER]} and "image_asset_pointer" in refused.message


def test_a_tree_without_an_end_is_no_endless_work(tmp_path: Path) -> None:
    talk, empty = _chatgpt(current_node="a"), _chatgpt()
    talk["mapping"]["root"]["parent"] = "a"
    empty["mapping"] = {"root": _node("root", None, None)}  # a window that was opened, and nothing written
    path = jsonl_file(tmp_path, talk, _chatgpt(), empty)
    *good, none = rows_of(path, "chat")
    assert good == [{"messages": [USER, ANSWER]}] * 2 and none.rule == "empty conversation"


@pytest.mark.parametrize(
    "record",
    [
        {"type": "conversation list", "parts": [{"body": "<p>When?</p>"}]},
        {"subject": "Opening times", "description": "When does it open?", "comments": [{"body": "At six."}]},
        {"title": "Opening times", "lines": ["When?", "At six."]},
    ],
)
def test_no_text_is_guessed_beside_what_lies_deeper(record: dict[str, Any], tmp_path: Path) -> None:
    """The one column of text is not what the file is about."""
    path, name = jsonl_file(tmp_path, *[record] * 3), list(record)[-1]
    looked = engine.data.inspect(path)
    assert (looked.form, looked.kind) == ("", None)
    assert looked.why.startswith(f"The column {name} holds nested data (lists or objects) that cannot be read.")
    with pytest.raises(DataError, match=f"The column {name} holds nested data"):
        rows_of(path, "chat")
    chosen = {"form": "text", "mapping": {"text": next(iter(record))}}
    assert rows_of(path, "text", **chosen)[0] == {"text": next(iter(record.values()))}


def test_labels_beside_two_columns_of_text_do_not_matter(tmp_path: Path) -> None:
    record = {"anfrage": "When does it open?", "loesung": "At six.", "tags": ["gate", "times"]}
    assert engine.data.inspect(jsonl_file(tmp_path, record)).form == "qa"


@pytest.mark.parametrize(
    ("question", "answer", "beside"),
    [
        ("Prompt", "Ideal response", "Points"),
        ("Question", "Model answer", "Points"),
        ("Question", "Correct answer", "Wrong answer"),
        ("Input", "Expected output", "Topic"),
        ("Frage", "Musterlösung", "Punkte"),
        ("Body", "Reply", "Subject"),
        ("Text", "Agent response", "Ticket"),
    ],
)
def test_an_answer_whose_column_has_a_longer_name_is_one(tmp_path: Path, question: str, answer: str, beside: str) -> None:
    rows = [
        {beside: f"It is {n}, no?", question: f"When does boat {n} go?", answer: f"At {n} in the morning."} for n in range(9)
    ]
    looked = engine.data.inspect(jsonl_file(tmp_path, *rows))
    assert (looked.form, looked.kind) == ("qa", "chat")
    assert looked.mapping == {"prompt": question, "completion": answer}
    assert f"{answer} was taken as the answer to {question}" in looked.why and f"Not used: {beside}" in looked.why


@pytest.mark.parametrize("beside", ["target language", "Response time", "Answer type", "Student answer", "Wrong answer"])
def test_a_column_that_only_speaks_of_answers_is_none(tmp_path: Path, beside: str) -> None:
    rows = [{"question": f"When does boat {n} go?", beside: "It is late."} for n in range(9)]
    assert engine.data.inspect(jsonl_file(tmp_path, *rows)).kind == "prompts"
    rows = [{**row, "Model answer": "At six."} for row in rows]
    assert engine.data.inspect(jsonl_file(tmp_path, *rows)).mapping == {"prompt": "question", "completion": "Model answer"}


def test_a_prompt_beside_another_text_may_have_its_answers_there(tmp_path: Path) -> None:
    rows = [{"prompt": f"When does boat {n} go?", "notes": "The harbour is quiet."} for n in range(9)]
    looked = engine.data.inspect(jsonl_file(tmp_path, *rows))
    assert looked.kind == "prompts" and "If notes holds the answers, choose it as the answer." in looked.why
