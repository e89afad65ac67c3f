"""Teachers: what they answer is kept, torn files and kills included; servers that are in trouble, refuse, or babble."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from engine import LLMTrainingParams, api, keys, train
from engine.errors import ModelError, ParamError, TrainingError
from engine.models import resolve
from engine.runs.directory import RunDirectory
from engine.runs.status import State, Status
from engine.worker import endpoint
from engine.worker.endpoint import EndpointTeacher
from engine.worker.lessons import AnswerFile
from engine.worker.models import load_tokenizer
from engine.worker.reporter import Reporter, StopRequested
from engine.worker.teachers import Answer, LocalTeacher
from engine.worker.tokens import prompt_text
from tests.train.toys import all_events, jsonl, series

STARTER = Path(__file__).resolve().parents[2] / "assets" / "starter"
KEY = "sk-a-very-secret-key-4711"
LONG = "You are the harbour master. Begin with Ahoy, and keep {braces} as they are.\n\n{input}"


@pytest.fixture
def reporter(runs_root: Path) -> Reporter:
    run = RunDirectory.create({"trainer": "sft"}, "run", runs_root)
    run.lock_file.touch()
    run.write_status(Status(State.PREPARING))
    return Reporter(run)


# ---- the file of answers ---------------------------------------------------------------------------------------------


def test_answers_are_found_again_and_a_torn_line_is_asked_anew(tmp_path: Path) -> None:
    rows = tmp_path / "train.jsonl"
    rows.write_text("".join(json.dumps({"prompt": f"{n}?"}) + "\n" for n in range(4)), encoding="utf-8")
    path = tmp_path / "train.answers.jsonl"
    first = AnswerFile(path)
    for number, text in ((2, "Zwei ü 🐟"), (0, "null\n{}"), (3, "")):
        first.add(number, Answer(text, [1, number] if text else [], ended=bool(number)))
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"row": 1, "text": "half a li')
    again = AnswerFile(path)
    assert path.read_bytes() == whole
    assert [number in again for number in range(4)] == [True, False, True, True]
    assert (len(again), again.empty) == (3, 1)
    again.add(1, Answer("eins", [9], ended=True))
    found = list(AnswerFile(path).pairs(rows))
    assert [(row["prompt"], answer.text, answer.ids, answer.ended) for row, answer in found] == [
        ("0?", "null\n{}", [1, 0], False),
        ("1?", "eins", [9], True),
        ("2?", "Zwei ü 🐟", [1, 2], True),
    ]


# ---- teachers on this machine ----------------------------------------------------------------------------------------


def local(folder: Path, reporter: Reporter) -> LocalTeacher:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    return LocalTeacher(lambda: model, load_tokenizer(resolve(str(folder))), reporter, seed=5)


def test_a_batch_gives_each_prompt_the_answer_that_it_gets_alone(reporter: Reporter) -> None:
    teacher = local(STARTER, reporter)
    rows = [{"prompt": f"When does gate {n} open?" + " Tell me!" * n} for n in range(6)]
    found = dict(teacher.answers(list(enumerate(rows)), 12, 0.0))
    assert sorted(found) == list(range(6))
    for number, row in enumerate(rows):
        given = teacher.tokenizer(prompt_text(row, teacher.tokenizer), return_tensors="pt", add_special_tokens=False)
        alone = teacher.model.generate(**given, max_new_tokens=12, do_sample=False)[0, given["input_ids"].shape[1] :].tolist()
        assert found[number].ids == alone
        assert found[number].ended == (alone[-1] == teacher.tokenizer.eos_token_id)
        assert found[number].text == teacher.tokenizer.decode(alone, skip_special_tokens=True).strip()


def test_an_answer_ends_with_its_stop_token(tiny_model: Path, reporter: Reporter) -> None:
    teacher = local(tiny_model, reporter)
    end = teacher.tokenizer.eos_token_id
    assert teacher._read([50, 51, end, 60, end]).ids == [50, 51, end]
    assert teacher._read([50, 51, end]).ended
    assert not teacher._read([50, 51]).ended
    assert teacher._read([end]) == Answer("", [], True), "a teacher that says nothing teaches nothing"


def test_drawn_answers_depend_on_the_rows_and_not_on_what_was_asked_before(tiny_model: Path, reporter: Reporter) -> None:
    teacher = local(tiny_model, reporter)
    rows: list[tuple[int, dict[str, Any]]] = [(7, {"prompt": "Who?"}), (9, {"prompt": "Who are you?"})]
    before = torch.random.get_rng_state()
    first = dict(teacher.answers(rows, 12, 1.0))
    assert torch.equal(torch.random.get_rng_state(), before)
    list(teacher.answers([(1, {"prompt": "x"})], 3, 1.0))
    assert dict(teacher.answers(rows, 12, 1.0)) == first
    assert dict(teacher.answers(rows, 12, 0.0)) != first


def test_a_prompt_that_is_longer_than_the_teacher_reads_has_no_answer(tiny_model: Path, reporter: Reporter) -> None:
    rows: list[tuple[int, dict[str, Any]]] = [(0, {"prompt": "Who? " * 200}), (1, {"prompt": "Who?"})]
    found = dict(local(tiny_model, reporter).answers(rows, 400, 0.0))
    assert found[0] == Answer("", [], True)
    assert found[1].ids


def test_a_stop_is_heeded_in_the_middle_of_an_answer(tiny_model: Path, reporter: Reporter) -> None:
    reporter.run.request_stop()
    with pytest.raises(StopRequested):
        list(local(tiny_model, reporter).answers([(0, {"prompt": "Who?"})], 200, 0.0))


# ---- teachers behind an address --------------------------------------------------------------------------------------


class Server:
    """A chat server that follows a script: a status and a body for each request, the last one again and again."""

    def __init__(self) -> None:
        self.script: list[tuple[int, Any, dict[str, str]]] = [(200, None, {})]
        self.requests: list[dict[str, Any]] = []
        self.lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                with outer.lock:
                    outer.requests.append({"path": self.path, "key": self.headers.get("authorization"), **body})
                    status, said, headers = outer.script[0] if len(outer.script) == 1 else outer.script.pop(0)
                text = f"Ahoy! {body['messages'][-1]['content'].splitlines()[-1]}"
                usual = {"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]}
                sent = (said if isinstance(said, str) else json.dumps(said or usual)).encode()
                self.send_response(status)
                for name, value in {"content-length": str(len(sent)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(sent)

            def log_message(self, *args: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.http.server_port}/v1"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.http.shutdown()
    made.http.server_close()


@pytest.fixture(autouse=True)
def _no_long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "WAIT_S", 0.01)
    for name in endpoint.KEYS:
        monkeypatch.delenv(name, raising=False)


ASKED: list[tuple[int, dict[str, Any]]] = [(n, {"prompt": f"Question {n}?"}) for n in range(9)]


def test_answers_come_from_the_server_by_number(server: Server, reporter: Reporter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AITRAINING_TEACHER_KEY", KEY)
    monkeypatch.setenv("OPENAI_API_KEY", "another")
    teacher = EndpointTeacher(server.address, "big", reporter)
    found = dict(teacher.answers(ASKED, 33, 0.5))
    teacher.release()
    assert found == {n: Answer(f"Ahoy! Question {n}?", [], True) for n in range(9)}
    assert {request["path"] for request in server.requests} == {"/v1/chat/completions"}
    assert {request["key"] for request in server.requests} == {f"Bearer {KEY}"}
    (first,) = [r for r in server.requests if r["messages"][0]["content"] == "Question 0?"]
    assert (first["model"], first["max_tokens"], first["temperature"]) == ("big", 33, 0.5)


def test_the_key_of_openai_is_sent_to_nobody_else(server: Server, reporter: Reporter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    server.script = [(200, None, {}), (401, "no", {})]
    assert dict(EndpointTeacher(server.address, "big", reporter).answers(ASKED[:1], 5, 0.0))
    with pytest.raises(ModelError, match="wants a key") as caught:
        list(EndpointTeacher(server.address, "big", reporter).answers(ASKED[:1], 5, 0.0))
    assert {request["key"] for request in server.requests} == {None}
    assert "OPENAI_API_KEY is sent to https://api.openai.com alone" in caught.value.hint


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://api.openai.com/v1", True),
        ("https://API.openai.com:443/v1", True),
        ("http://api.openai.com/v1", False),
        ("https://api.openai.com.evil.example/v1", False),
        ("https://api.openai.com@evil.example/v1", False),
        ("https://evil.example/api.openai.com", False),
    ],
)
def test_who_is_openai(monkeypatch: pytest.MonkeyPatch, address: str, shown: bool) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert (keys.teachers(address) == KEY) is shown
    monkeypatch.setenv("AITRAINING_TEACHER_KEY", "its own")
    assert keys.teachers(address) == "its own"


def test_conversations_are_sent_as_such_and_a_cut_answer_is_known(server: Server, reporter: Reporter) -> None:
    server.script = [(200, {"choices": [{"message": {"content": "Half an"}, "finish_reason": "length"}]}, {})]
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Who?"}]
    found = dict(EndpointTeacher(server.address, "big", reporter).answers([(4, {"prompt": turns})], 2, 0.0))
    assert found == {4: Answer("Half an", [], False)}
    assert server.requests[0]["messages"] == turns
    assert server.requests[0]["key"] is None


@pytest.mark.parametrize("trouble", [(429, {"error": {"message": "slow down"}}, {"retry-after": "0.05"}), (503, "busy", {})])
def test_trouble_that_passes_is_waited_for(server: Server, reporter: Reporter, trouble: Any) -> None:
    server.script = [trouble, trouble, (200, None, {})]
    found = dict(EndpointTeacher(server.address, "big", reporter).answers(ASKED[:1], 5, 0.0))
    assert found[0].text == "Ahoy! Question 0?"
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("answer", "words", "tries"),
    [
        ((500, "on fire", {}), ["does not answer", "500", "on fire"], 6),
        ((200, "<html>a proxy</html>", {}), ["no chat answer in JSON"], 6),
        ((200, {"choices": []}, {}), ["no chat answer in JSON"], 6),
        ((401, {"error": {"message": f"Incorrect key: {KEY}"}}, {}), ["refuses the key", "401", "Incorrect key: …"], 1),
        ((404, {"error": {"message": "no such model"}}, {}), ["no model big", "no such model"], 1),
        ((400, {"error": {"message": "temperature"}}, {}), ["refuses the request", "400", "temperature"], 1),
        ((307, "", {"location": "http://127.0.0.1:1/elsewhere"}), ["307"], 1),
    ],
    ids=lambda value: str(value[0]) if isinstance(value, tuple) else "",
)
def test_trouble_that_stays_is_told(
    server: Server, reporter: Reporter, monkeypatch: pytest.MonkeyPatch, answer: Any, words: list[str], tries: int
) -> None:
    monkeypatch.setenv("AITRAINING_TEACHER_KEY", KEY)
    server.script = [answer]
    with pytest.raises(ModelError) as caught:
        list(EndpointTeacher(server.address, "big", reporter).answers(ASKED[:1], 5, 0.0))
    assert len(server.requests) == tries
    for word in words:
        assert word in caught.value.message
    assert caught.value.hint
    assert KEY not in str(caught.value)


def test_what_was_answered_before_the_trouble_is_given(server: Server, reporter: Reporter) -> None:
    server.script = [*[(200, None, {})] * 5, (401, "no", {})]
    found = []
    with pytest.raises(ModelError, match="wants a key"):
        for number, _ in EndpointTeacher(server.address, "big", reporter).answers(ASKED, 5, 0.0):
            found.append(number)
    assert len(found) == 5
    assert len(server.requests) < 5 + 5, "nothing is asked any more once one was refused"


def test_a_server_that_is_not_there_and_one_with_the_newer_name(server: Server, reporter: Reporter) -> None:
    with pytest.raises(ModelError, match="cannot be reached"):
        list(EndpointTeacher("http://127.0.0.1:9/v1", "big", reporter).answers(ASKED[:1], 5, 0.0))
    newer = {"error": {"message": "Unsupported parameter: use 'max_completion_tokens' instead."}}
    server.script = [(400, newer, {}), (200, None, {})]
    assert dict(EndpointTeacher(server.address, "o9", reporter).answers(ASKED[:1], 5, 0.0))[0].text
    assert server.requests[-1]["max_completion_tokens"] == 5
    assert "max_tokens" not in server.requests[-1]


def test_a_stop_does_not_wait_for_the_server(server: Server, reporter: Reporter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "WAIT_S", 60.0)
    server.script = [(503, "busy", {})]
    answers = EndpointTeacher(server.address, "big", reporter).answers(ASKED, 5, 0.0)
    reporter.run.request_stop()
    with pytest.raises(StopRequested):
        next(answers)


# ---- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "field", "words"),
    [
        ({"teacher_endpoint": "127.0.0.1:8000", "teacher_model": "m"}, "teacher_endpoint", "AITRAINING_TEACHER_KEY"),
        ({"teacher_endpoint": f"https://me:{KEY}@host/v1", "teacher_model": "m"}, "teacher_endpoint", "no address"),
        ({"teacher_endpoint": f"https://host/v1?key={KEY}", "teacher_model": "m"}, "teacher_endpoint", "no address"),
        ({"teacher_endpoint": "https://host/v1"}, "teacher_endpoint", "teacher_model must name"),
        ({"teacher_endpoint": "https://host/v1", "teacher_model": "m", "distill_alpha": 0.5}, "distill_alpha", "0 or empty"),
        ({"distill_alpha": 1.5}, "distill_alpha", "at most 1"),
        ({"distill_temperature": 0}, "distill_temperature", "more than 0"),
    ],
)
def test_settings_that_cannot_be_are_told_at_their_field(values: dict[str, Any], field: str, words: str) -> None:
    with pytest.raises(ParamError) as caught:
        LLMTrainingParams(trainer="distillation", data_path="x.jsonl", **values)
    assert [problem.field for problem in caught.value.problems] == [field]
    assert words in caught.value.message
    assert KEY not in str(caught.value)


# ---- whole runs ------------------------------------------------------------------------------------------------------


@pytest.fixture
def asked(tiny_model: Path, tmp_path: Path) -> Callable[..., LLMTrainingParams]:
    def make(count: int = 24, **values: Any) -> LLMTrainingParams:
        rows = jsonl(tmp_path / f"asked-{count}.jsonl", [{"prompt": f"When does gate {n} open?"} for n in range(count)])
        usual: dict[str, Any] = {"model": str(tiny_model), "data_path": rows, "max_steps": 2, "sample_tokens": 4}
        usual |= {"teacher_prompt_template": LONG, "distill_max_teacher_length": 8, "precision": "fp32"}
        return LLMTrainingParams(trainer="distillation", **{**usual, **values})

    return make


@pytest.mark.slow
def test_a_run_with_a_teacher_from_afar_keeps_its_key_to_itself(
    server: Server, asked: Callable[..., LLMTrainingParams], runs_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AITRAINING_TEACHER_KEY", KEY)
    server.script = [(429, "", {}), (200, None, {})]
    made = train(asked(teacher_endpoint=server.address + "/", teacher_model="big", project_name="afar"))
    run = RunDirectory.open("afar", runs_root)
    assert run.status().state is State.DONE
    assert len(server.requests) == 24 + 1
    told = server.requests[0]["messages"][0]["content"]
    assert told.startswith("You are the harbour master.") and "{braces}" in told and told.endswith("open?")
    answers = [json.loads(line) for line in (run.data_dir / "train.answers.jsonl").read_text().splitlines()]
    assert {answer["text"].split()[0] for answer in answers} == {"Ahoy!"}
    assert set(series(run, "ce")) and not series(run, "kl")
    assert run.plan()["params"]["distill_alpha"] == 0
    holding = [path for path in run.path.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
    assert holding == []
    AutoModelForCausalLM.from_pretrained(str(made))


@pytest.mark.long  # a kill in the middle of the answers runs at every change
@pytest.mark.slow
def test_a_run_whose_teacher_was_refused_goes_on_where_it_was(
    server: Server, asked: Callable[..., LLMTrainingParams], runs_root: Path, wait_until: Callable[..., None]
) -> None:
    server.script = [*[(200, None, {})] * 7, (401, {"error": {"message": "wrong key"}}, {})]
    with pytest.raises(TrainingError, match="wants a key"):
        train(asked(teacher_endpoint=server.address, teacher_model="big", project_name="refused"))
    run = RunDirectory.open("refused", runs_root)
    status = run.status()
    assert status.state is State.FAILED and "AITRAINING_TEACHER_KEY" in status.hint and status.resumable
    kept = (run.data_dir / "train.answers.jsonl").read_bytes()
    assert kept.count(b"\n") == 7
    server.script, server.requests[:] = [(200, None, {})], []
    api.resume("refused")
    wait_until(lambda: run.status().ended_state, 90)
    assert run.status().state is State.DONE
    assert len(server.requests) == 24 - 7, "only what was missing was asked"
    assert (run.data_dir / "train.answers.jsonl").read_bytes().startswith(kept)


@pytest.mark.slow
def test_answers_survive_a_kill_in_the_middle(
    server: Server, asked: Callable[..., LLMTrainingParams], runs_root: Path, wait_until: Callable[..., None]
) -> None:
    server.script = [*[(200, None, {})] * 9, (503, "busy", {})]
    name = api.start(asked(teacher_endpoint=server.address, teacher_model="big", project_name="killed"))
    run = RunDirectory.open(name, runs_root)
    answers = run.data_dir / "train.answers.jsonl"
    wait_until(lambda: answers.is_file() and answers.read_bytes().count(b"\n") >= 9, 90)
    api.stop(name, force=True)
    wait_until(lambda: run.status().ended_state, 30)
    kept = answers.read_bytes()
    answers.write_bytes(kept + b'{"row": 20, "te')
    server.script, server.requests[:] = [(200, None, {})], []
    api.resume(name)
    wait_until(lambda: run.status().ended_state, 90)
    assert run.status().state is State.DONE, run.status()
    assert len(server.requests) == 24 - kept.count(b"\n")
    phases = [event for event in all_events(run, "phase") if "done" in event]
    assert phases[-1]["phase"] == "The teacher answers (24 of 24)"
    assert (phases[-1]["done"], phases[-1]["total"]) == (24, 24)


@pytest.mark.slow
def test_a_teacher_with_another_vocabulary_is_refused_but_for_its_answers(
    asked: Callable[..., LLMTrainingParams], runs_root: Path
) -> None:
    with pytest.raises(TrainingError, match="different vocabularies") as caught:
        train(asked(4, teacher_model="starter", project_name="guesses"))
    assert "--distill-alpha 0" in caught.value.hint
    made = train(asked(4, teacher_model="starter", distill_alpha=0.0, project_name="answers", epochs=30))
    assert series(RunDirectory.open("answers", runs_root), "ce")
    AutoModelForCausalLM.from_pretrained(str(made))


@pytest.mark.slow
def test_three_rows_are_enough_and_a_second_model_teaches(
    asked: Callable[..., LLMTrainingParams], runs_root: Path, tiny_model: Path, tmp_path: Path
) -> None:
    teacher = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    teacher.save_pretrained(tmp_path / "teacher")
    load_tokenizer(resolve(str(tiny_model))).save_pretrained(tmp_path / "teacher")
    template = "Say it: {input}"
    made = train(asked(3, teacher_model=str(tmp_path / "teacher"), student_prompt_template=template, project_name="three"))
    run = RunDirectory.open("three", runs_root)
    assert series(run, "kl") and series(run, "agreement")
    card = (Path(made) / "README.md").read_text(encoding="utf-8")
    assert template in card
    assert {event["prompt"] for event in all_events(run, "sample")} == {f"When does gate {n} open?" for n in range(3)}
