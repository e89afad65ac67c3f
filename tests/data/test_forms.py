"""The shapes that rows come in, as people and well-known data sets write them, and what each one becomes."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

import engine.data
from engine.data import Problem
from engine.errors import DataError
from tests.data.jsonl_rows import jsonl_file, rows_of
from ui.data_view import file_html

USER = {"role": "user", "content": "When does the harbour open?"}
ANSWER = {"role": "assistant", "content": "At six."}
WORSE = {"role": "assistant", "content": "Who knows."}


@pytest.mark.parametrize("key", ["text", "value"])
def test_content_as_a_list_of_parts(key: str, tmp_path: Path) -> None:
    """OpenAI and others write content as parts; the parts of text are joined."""
    parts = [{"type": "text", key: "When does "}, {"type": "text", key: "the harbour open?"}]
    answer = [{"type": "text", key: "At six."}]
    turns = [{"role": "user", "content": parts}, {"role": "assistant", "content": answer}]
    assert rows_of(jsonl_file(tmp_path, {"messages": turns}), "chat") == [{"messages": [USER, ANSWER]}]


def test_what_is_not_mapped_yet_can_still_be_looked_at(tmp_path: Path) -> None:
    """Headings that say nothing: the person names the form first, and must then be offered the columns."""
    path = jsonl_file(tmp_path, *(dict.fromkeys(["Kunde", "Betreff", "Loesweg"], f"Words about gate {n}.") for n in range(5)))
    looked = engine.data.inspect(path, form="qa")
    assert looked.kind is None and {role.name for role in looked.roles} >= {"prompt", "completion"}
    assert "No column is chosen for" in looked.why and [column.name for column in looked.columns] == [
        "Kunde",
        "Betreff",
        "Loesweg",
    ]
    with pytest.raises(DataError, match="No column is chosen for"):
        engine.data.inspect(path, "chat", form="qa")
    mapped = engine.data.inspect(path, form="qa", mapping={"prompt": "Betreff", "completion": "Loesweg"})
    assert (mapped.kind, mapped.usable) == ("chat", 5)
    assert mapped.why == "As it is set below: Betreff as “Question”, Loesweg as “Answer”."
    with pytest.raises(DataError, match="do not say what they are") as unknown:
        engine.data.inspect(path, "text")
    assert all(words in unknown.value.hint for words in ("plain text", "questions with answers", "a better and a worse"))


def test_thumbs_in_other_languages_and_thumbs_that_are_none(tmp_path: Path) -> None:
    mapping = {"prompt": "Frage", "completion": "Antwort", "label": "Urteil"}
    rows = [{"Frage": f"Tor {n}?", "Antwort": f"Um {n}.", "Urteil": ("ja", "nein")[n % 2]} for n in range(4)]
    read = rows_of(jsonl_file(tmp_path, *rows), "feedback", mapping=mapping)
    assert [row["label"] for row in read] == [True, False, True, False]
    path = jsonl_file(tmp_path, *({**row, "Urteil": "vielleicht"} for row in rows))
    looked = engine.data.inspect(path, "feedback", mapping=mapping)
    assert (looked.form, looked.usable) == ("feedback", 0)
    assert "vielleicht" in looked.problems[0].message


def test_a_picture_in_the_content_is_refused(tmp_path: Path) -> None:
    """A conversation about a picture makes no sense without it, so the row is told and not mended."""
    picture = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}
    path = jsonl_file(tmp_path, {"messages": [USER, ANSWER]}, {"messages": [picture, ANSWER]})
    good, bad = rows_of(path, "chat")
    assert good == {"messages": [USER, ANSWER]}
    assert isinstance(bad, Problem) and (bad.row, bad.rule) == (2, "not text") and "image_url" in bad.message


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_text_column_with_json_in_a_string(wrapped: bool, tmp_path: Path) -> None:
    turns: Any = {"messages": [USER, ANSWER]} if wrapped else [USER, ANSWER]
    path = jsonl_file(tmp_path, {"text": json.dumps(turns)})
    assert engine.data.inspect(path).form == "messages"
    assert rows_of(path, "chat") == [{"messages": [USER, ANSWER]}]


def test_preference_as_from_value_objects(tmp_path: Path) -> None:
    record = {
        "conversations": [{"from": "human", "value": USER["content"]}],
        "chosen": {"from": "gpt", "value": "At six."},
        "rejected": {"from": "gpt", "value": "Who knows."},
    }
    path = jsonl_file(tmp_path, record)
    how = {"form": "preference", "mapping": {"prompt": "conversations"}}
    assert rows_of(path, "preference", **how) == [{"prompt": [USER], "chosen": [ANSWER], "rejected": [WORSE]}]
    assert rows_of(path, "chat", **how) == [{"messages": [USER, ANSWER]}]


def test_preference_as_from_value_objects_needs_no_mapping(tmp_path: Path) -> None:
    """LLaMA-Factory's own example of preference data is written like this."""
    record = {
        "conversations": [{"from": "human", "value": USER["content"]}],
        "chosen": {"from": "gpt", "value": "At six."},
        "rejected": {"from": "gpt", "value": "Who knows."},
    }
    assert rows_of(jsonl_file(tmp_path, record), "preference") == [{"prompt": [USER], "chosen": [ANSWER], "rejected": [WORSE]}]


@pytest.mark.parametrize("given", [None, "text", "turns", "system"])
def test_whole_dialogues_do_not_double_the_prompt(given: str | None, tmp_path: Path) -> None:
    """UltraFeedback repeats the question inside of both answers, beside a column of its own or without one."""
    record: dict[str, Any] = {"chosen": [USER, ANSWER], "rejected": [USER, WORSE]}
    if given is not None:
        record["prompt"] = {"text": USER["content"], "turns": [USER], "system": [USER]}[given]
    if given == "system":
        record["system"] = "Be brief."
    (row,) = rows_of(jsonl_file(tmp_path, record), "preference")
    assert row["chosen"] == [ANSWER] and row["rejected"] == [WORSE]
    assert [turn for turn in row["prompt"] if turn["role"] != "system"] == [USER]
    assert (row["prompt"][0]["role"] == "system") == (given == "system")


def test_whole_dialogues_of_several_turns(tmp_path: Path) -> None:
    """Everything before the place where the two part is the prompt."""
    before = [{"role": "system", "content": "Be brief."}, USER, ANSWER, {"role": "user", "content": "And closes?"}]
    record = {"chosen": [*before, {"role": "assistant", "content": "At ten."}], "rejected": [*before, WORSE]}
    (row,) = rows_of(jsonl_file(tmp_path, record), "preference")
    assert row == {"prompt": before, "chosen": [{"role": "assistant", "content": "At ten."}], "rejected": [WORSE]}


def test_text_answers_that_begin_with_the_prompt(tmp_path: Path) -> None:
    question = "When does the harbour open?"
    record = {"prompt": question, "chosen": question + " At six.", "rejected": question + " Who knows."}
    assert rows_of(jsonl_file(tmp_path, record), "preference") == [
        {"prompt": question, "chosen": "At six.", "rejected": "Who knows."}
    ]


def test_equal_answers_are_refused(tmp_path: Path) -> None:
    path = jsonl_file(tmp_path, {"prompt": "Why?", "chosen": "So.", "rejected": "So."})
    (problem,) = rows_of(path, "preference")
    assert isinstance(problem, Problem) and problem.rule == "same answers"


def test_openai_preference(tmp_path: Path) -> None:
    record = {
        "input": {"messages": [USER], "tools": [], "parallel_tool_calls": True},
        "preferred_output": [ANSWER],
        "non_preferred_output": [WORSE],
    }
    path = jsonl_file(tmp_path, record)
    assert engine.data.inspect(path).kind == "preference"
    assert rows_of(path, "preference") == [{"prompt": [USER], "chosen": [ANSWER], "rejected": [WORSE]}]
    assert rows_of(path, "prompts")[0]["prompt"] == [USER]


def test_tools_as_a_json_string(tmp_path: Path) -> None:
    """And arguments as a JSON string: chat templates want objects."""
    tools = [{"type": "function", "function": {"name": "opening", "parameters": {"type": "object"}}}]
    call = {"id": "1", "type": "function", "function": {"name": "opening", "arguments": '{"place": "harbour"}'}}
    asks = {"role": "assistant", "content": None, "tool_calls": [call]}
    (row,) = rows_of(jsonl_file(tmp_path, {"messages": [USER, asks], "tools": json.dumps(tools)}), "chat")
    assert row["tools"] == tools
    assert row["messages"][1]["tool_calls"][0]["function"] == {"name": "opening", "arguments": {"place": "harbour"}}
    bad = rows_of(jsonl_file(tmp_path, {"messages": [USER, ANSWER], "tools": "[{broken"}), "chat")
    assert isinstance(bad[0], Problem) and bad[0].rule == "bad tools"


def test_every_known_role(tmp_path: Path) -> None:
    record = {
        "conversations": [
            {"from": "system", "value": "Be brief."},
            {"from": "human", "value": "When?"},
            {"from": "function_call", "value": '{"name": "opening", "arguments": {"place": "harbour"}}'},
            {"from": "observation", "value": "06:00"},
            {"from": "gpt", "value": "At six."},
            {"from": "Human", "value": "Sure?"},
            {"from": "tool", "value": "yes"},
            {"from": "assistant", "value": "Yes."},
        ]
    }
    (row,) = rows_of(jsonl_file(tmp_path, record), "chat")
    roles = [turn["role"] for turn in row["messages"]]
    assert roles == ["system", "user", "assistant", "tool", "assistant", "user", "tool", "assistant"]
    assert row["messages"][2]["tool_calls"][0]["function"] == {"name": "opening", "arguments": {"place": "harbour"}}


def test_an_unknown_role_is_told(tmp_path: Path) -> None:
    path = jsonl_file(tmp_path, {"messages": [USER, {"role": "narrator", "content": "He spoke."}]})
    (problem,) = rows_of(path, "chat")
    assert isinstance(problem, Problem) and problem.rule == "unknown role" and "narrator" in problem.message


def test_the_words_that_people_have_for_pairs_and_thumbs(tmp_path: Path) -> None:
    pair = {"Nr": 1, "Prompt": "Why?", "Good answer": "So.", "Bad answer": "Who knows."}
    assert rows_of(jsonl_file(tmp_path, pair), "preference") == [{"prompt": "Why?", "chosen": "So.", "rejected": "Who knows."}]
    rated = {"question": "Why?", "answer": "So.", "rating": "good"}
    assert rows_of(jsonl_file(tmp_path, rated), "feedback") == [{"prompt": "Why?", "completion": "So.", "label": True}]
    stars = engine.data.inspect(jsonl_file(tmp_path, {**rated, "rating": 4}))
    assert stars.form == "qa", "stars are no thumbs"
    assert "The column rating is not used: it holds '4'" in stars.why
    asked = {"question": "Why?", "answer": "So.", "Helpful?": "no"}
    assert rows_of(jsonl_file(tmp_path, asked), "feedback") == [{"prompt": "Why?", "completion": "So.", "label": False}]


def test_rows_that_are_left_out_on_purpose_are_still_the_files_rows(tmp_path: Path) -> None:
    rows = [{"question": f"Why {n}?", "answer": f"So {n}.", "rating": ("up", "down")[n % 2]} for n in range(80)]
    path = jsonl_file(tmp_path, *rows)
    both, liked = engine.data.inspect(path, "feedback"), engine.data.inspect(path, "chat")
    assert (both.rows, both.looked_at, both.usable) == (80, 80, 80)
    assert (liked.rows, liked.rows_exact, liked.looked_at, liked.usable, liked.problems) == (80, True, 80, 40, [])
    assert "That is 40 of the 80 rows." in file_html(liked)


def test_capitals_in_column_names(tmp_path: Path) -> None:
    path = jsonl_file(tmp_path, {"Question": "Why?", "Answer": "So."})
    assert rows_of(path, "chat") == [{"prompt": "Why?", "completion": "So."}]
    assert engine.data.inspect(path).mapping == {"prompt": "Question", "completion": "Answer"}


def test_alpaca(tmp_path: Path) -> None:
    """The input follows the instruction; an instruction that is empty leaves the input as the question."""
    path = jsonl_file(
        tmp_path,
        {"instruction": "Translate.", "input": "Brot", "output": "Bread"},
        {"instruction": "Say hello.", "input": "", "output": "Hello"},
        {"instruction": "", "input": "What is cod?", "output": "A fish."},
        {"instruction": "", "input": "", "output": "Nothing."},
    )
    assert engine.data.inspect(path).form == "alpaca"
    *good, bad = rows_of(path, "chat")
    assert good == [
        {"prompt": "Translate.\n\nBrot", "completion": "Bread"},
        {"prompt": "Say hello.", "completion": "Hello"},
        {"prompt": "What is cod?", "completion": "A fish."},
    ]
    assert isinstance(bad, Problem) and bad.rule == "empty instruction"


def test_gzipped_transcripts_as_preference(tmp_path: Path) -> None:
    """Anthropic's hh-rlhf: gzipped lines with two transcripts that part at the last answer."""
    before = "\n\nHuman: Hello\n\nAssistant: Hi, how can I help?\n\nHuman: When does the harbour open?\n\nAssistant:"
    path = tmp_path / "train.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps({"chosen": before + " At six.", "rejected": before + " Who knows."}).encode()))
    (row,) = rows_of(path, "preference")
    assert [turn["role"] for turn in row["prompt"]] == ["user", "assistant", "user"] and row["prompt"][-1] == USER
    assert (row["chosen"], row["rejected"]) == ([ANSWER], [WORSE])


def test_gzipped_transcripts_as_chat(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl.gz"
    text = "\n\nHuman: When does the harbour open?\n\nAssistant: At six."
    path.write_bytes(gzip.compress(json.dumps({"text": text}).encode()))
    assert engine.data.inspect(path).form == "transcript"
    assert rows_of(path, "chat") == [{"messages": [USER, ANSWER]}]


TEXTS = [
    "Dear {{name}}, your {order} is {{ ready }} {% if x %}.",
    "متى يفتح الميناء؟",
    "港は何時に開きますか。「六時です」",
    "👩‍👩‍👧‍👦 🇯🇵 ❤️ é e\u0301 \u200b\u00a0end",
    "<|im_start|>user [INST] </s> stays text",
]


@pytest.mark.parametrize("text", TEXTS)
def test_text_is_never_changed(text: str, tmp_path: Path) -> None:
    """No template is filled in, nothing is normalised, nothing is taken for markup, on the way into the file too."""
    assert rows_of(jsonl_file(tmp_path, {"text": text}), "text") == [{"text": text}]
    path = jsonl_file(tmp_path, {"question": text, "answer": text + "!"})
    assert rows_of(path, "chat") == [{"prompt": text, "completion": text + "!"}]
    engine.data.prepare(path, "chat", tmp_path / "out")
    written = (tmp_path / "out" / "train.jsonl").read_text(encoding="utf-8")
    assert json.loads(written) == {"prompt": text, "completion": text + "!"}


def test_sharegpt(tmp_path: Path) -> None:
    turns = [{"from": "human", "value": USER["content"]}, {"from": "gpt", "value": "At six."}]
    path = jsonl_file(tmp_path, {"id": "x_0", "system": "Be brief.", "conversations": turns})
    system = {"role": "system", "content": "Be brief."}
    assert rows_of(path, "chat") == [{"messages": [system, USER, ANSWER]}]


def test_a_mapping_of_columns(tmp_path: Path) -> None:
    """What the person says wins over what the names say."""
    path = jsonl_file(tmp_path, {"question": "wrong", "q_text": "Why not?", "a_text": "Because it is so.", "n": 4})
    made = rows_of(path, "chat", form="qa", mapping={"prompt": "q_text", "completion": "a_text"})
    assert made == [{"prompt": "Why not?", "completion": "Because it is so."}]


@pytest.mark.parametrize("mapping", [{"prompt": "nowhere"}, {"colour": "question"}, {"completion": ""}])
def test_a_mapping_that_cannot_be(mapping: dict[str, str], tmp_path: Path) -> None:
    """A column or a role that does not exist, or a needed role that is left out: the hint names what there is."""
    path = jsonl_file(tmp_path, {"question": "Why?", "answer": "So."})
    with pytest.raises(DataError) as caught:
        rows_of(path, "chat", form="qa", mapping=mapping)
    assert caught.value.hint


def test_conversations_without_an_answer_serve_prompts(tmp_path: Path) -> None:
    path = jsonl_file(tmp_path, {"messages": [USER]}, {"messages": [USER, ANSWER]})
    assert [row["prompt"] for row in rows_of(path, "prompts")] == [[USER], [USER]]
    bad, good = rows_of(path, "chat")
    assert isinstance(bad, Problem) and bad.rule == "no answer" and good == {"messages": [USER, ANSWER]}


@pytest.mark.parametrize("label", [True, 1, "good", "👍", "Yes"])
def test_feedback(label: Any, tmp_path: Path) -> None:
    path = jsonl_file(tmp_path, {"prompt": "Why?", "completion": "So.", "label": label})
    assert rows_of(path, "feedback") == [{"prompt": "Why?", "completion": "So.", "label": True}]
    bad = jsonl_file(tmp_path, {"prompt": "Why?", "completion": "So.", "label": False})
    assert rows_of(bad, "chat") == []  # a thumbs down is nothing to learn from


def test_a_form_that_cannot_serve_the_kind(tmp_path: Path) -> None:
    path = jsonl_file(tmp_path, {"text": "Only text is here."})
    with pytest.raises(DataError, match="plain text") as caught:
        rows_of(path, "preference")
    assert caught.value.hint


def test_columns_that_say_nothing(tmp_path: Path) -> None:
    """Nobody can tell what three columns of text mean: the page asks, and shows the rows that there are."""
    path = jsonl_file(
        tmp_path, *[{"alpha": f"some words {i}", "beta": "more words here", "gamma": "and more words"} for i in range(7)]
    )
    looked = engine.data.inspect(path)
    assert (looked.form, looked.kind, looked.rows) == ("", None, 7)
    assert len(looked.raw) == 7


def test_prompts_carry_the_other_columns_answers_too(tmp_path: Path) -> None:
    path = jsonl_file(tmp_path, {"question": "Why?", "answer": "So.", "level": 3, "text": "aside"})
    assert rows_of(path, "prompts") == [{"prompt": "Why?", "answer": "So.", "level": 3, "text": "aside"}]


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("Question", "Réponse"),
        ("Pregunta", "Respuesta"),
        ("Pergunta", "Resposta"),
        ("Domanda", "Risposta"),
        ("Frage", "Antwort"),
    ],
)
def test_headings_in_other_languages(asked: str, answered: str, tmp_path: Path) -> None:
    path = jsonl_file(tmp_path, {asked: "Why?", answered: "So."})
    assert engine.data.inspect(path).mapping == {"prompt": asked, "completion": answered}


SILENT = {**WORSE, "weight": 0}
TALKS_WITH_WEIGHTS: dict[str, tuple[list[Any], Any]] = {
    "all are learned": ([USER, {**ANSWER, "weight": 1}], {"messages": [USER, ANSWER]}),
    "the last is left out": ([USER, ANSWER, USER, SILENT], {"messages": [USER, ANSWER]}),
    "those before are given": (
        [USER, SILENT, USER, ANSWER, USER, ANSWER],
        {"prompt": [USER, WORSE, USER], "completion": [ANSWER, USER, ANSWER]},
    ),
    "one between": ([USER, ANSWER, USER, SILENT, USER, ANSWER], "between answers that are learned"),
    "no other": ([USER, SILENT], "nothing to learn"),
    "no other that says something": ([USER, SILENT, USER, {**ANSWER, "content": ""}], "no answer"),
}


@pytest.mark.parametrize("name", TALKS_WITH_WEIGHTS)
def test_an_answer_of_weight_0_is_not_learned(name: str, tmp_path: Path) -> None:
    """As OpenAI's files say it. What cannot be done is told, and not learned in silence."""
    given, wanted = TALKS_WITH_WEIGHTS[name]
    [made] = rows_of(jsonl_file(tmp_path, {"messages": given}), "chat")
    if isinstance(wanted, str):
        assert isinstance(made, Problem) and wanted in made.message
    else:
        assert made == wanted


def test_weights_where_answers_are_not_what_is_learned(tmp_path: Path) -> None:
    """A prompt needs no answer; of a text everything is learned, so one with an answer that should not be is refused."""
    path = jsonl_file(tmp_path, {"messages": [USER, SILENT]})
    assert rows_of(path, "prompts") == [{"prompt": [USER]}]
    path = jsonl_file(tmp_path, {"messages": [USER, SILENT, USER, ANSWER]}, {"messages": [USER, ANSWER, USER, SILENT]})
    refused, made = rows_of(path, "text")
    assert refused.rule == "weight 0"
    assert made == {"text": "User: When does the harbour open?\nAssistant: At six."}


@pytest.mark.parametrize("margin", ["nan", "inf", "-Infinity", "1e39", "much"])
def test_a_margin_that_is_no_number_is_refused(margin: str, tmp_path: Path) -> None:
    """The loss would be no number either."""
    pair = {"prompt": "Why?", "chosen": "So.", "rejected": "No."}
    good, bad = rows_of(jsonl_file(tmp_path, {**pair, "margin": "1.5"}, {**pair, "margin": margin}), "preference")
    assert good["margin"] == 1.5
    assert bad.rule == "no number" and margin in bad.message and bad.column == "margin"
