"""The matrix: every address and every handler that the app has, asked by nobody, by another person, by the owner, by an admin.

Nothing here lists them: they are asked of the app. What is new is knocked at too, and has to turn the others away. With
`pytest -s` the matrix is printed.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from engine import api, errors, people
from engine.pipelines import named
from engine.pipelines.course import Course
from engine.runs import launcher
from engine.runs.directory import RunDirectory
from engine.runs.status import State
from engine.sweeps.group import Group
from tests.login.conftest import Studio
from tests.login.doors import Answer, Door, call, doors, filled_in, handlers, knock

CANARY = "CANARY-of-ada"
ADA = people.Person("ada", "Ada")
RUN, CHAIN, SWEEP = "hers-alone", "her-chain", "her-sweep"
# All that answers before anybody has signed in. A new address that nobody should have to sign in for is added here.
PUBLIC = ("/login", "/logout", "/favicon.ico", "/robots.txt", "/studio/static/", "/gradio_api/startup-events")
# Below these, a name is not a run's.
OTHER_THINGS = {"pipelines": CHAIN, "sweeps": SWEEP}
# What can be put in the place of {action}: what there is, and what there is not.
ACTIONS = ("stop", "resume", "rename", "pass", "anything", "forget", "upload", "cancel", "move", "discard", "delete")
THERE_ARE = {
    "/runs/": ("stop", "resume", "rename", "delete", "discard", "cancel", "move"),
    "/pipelines/": ("stop", "resume", "pass", "forget"),
    "/sweeps/": ("stop", "resume", "forget"),
}
ADMIN_DOES = ("stop", "forget", "delete")


def plant(data: str) -> None:
    """A finished run of Ada's with something in every file, a pipeline that it belongs to, and a sweep."""
    for folder in (RUN, f".pipelines/{CHAIN}", f".sweeps/{SWEEP}"):
        shutil.rmtree(ADA.folder / folder, ignore_errors=True)
    with people.acting(ADA):
        settings = api.validate({"trainer": "sft", "model": "starter", "data_path": data, "sample_prompts": [CANARY]})
        run = RunDirectory.create(settings.model_dump(mode="json"), RUN)
        run.log_event("metric", step=1, values={"loss": 2.5})
        run.log_event("warning", message=CANARY, hint="")
        run.log_file.write_text(f"{CANARY}\n")
        run.model_dir.mkdir()
        (run.model_dir / "config.json").write_text(json.dumps({"canary": CANARY, "architectures": ["LlamaForCausalLM"]}))
        run.update_status(state=State.DONE, reason=CANARY, step=1, total_steps=1)
        pipeline = named.named("basic", CHAIN, dict.fromkeys(named.chains()["basic"], data))
        course = Course(CHAIN)
        with course.driven():
            course.create(pipeline)
            course.add_run(pipeline.stages[0].name, RUN)
        asked = {"sweep": SWEEP, "settings": {"trainer": "sft", "data_path": data}, "try": {"lr": [1e-4]}}
        group = Group(SWEEP)
        with group.driven():
            group.create(api.sweeps.from_mapping(asked), [{"lr": 1e-4}])
            group.note(0, RUN, queued=True)


def everything_of_ada() -> str:
    """A mark of all her files: it changes when one of them does."""
    mark = hashlib.sha256()
    for file in sorted(path for path in ADA.folder.rglob("*") if path.is_file()):
        mark.update(str(file).encode() + file.read_bytes())
    return mark.hexdigest()


class Hers:
    """What Ada has: a file in her store, one that she has just sent to Gradio, a page that she has open."""

    def __init__(self, owner: httpx.Client) -> None:
        self.owner, self.page = owner, "page-of-ada"
        rows = "".join(json.dumps({"prompt": f"{CANARY} {n}?", "completion": f"Answer {n}."}) + "\n" for n in range(20))
        self.data = owner.put("/studio/api/data/rows.jsonl", content=rows).raise_for_status().json()["data_path"]
        self.sent = owner.post("/gradio_api/upload", files={"files": ("sent.jsonl", rows + "\n")}).json()[0]
        assert knock(owner, "GET", f"/gradio_api/heartbeat/{self.page}").status == 200
        plant(self.data)

    def body(self, name: str) -> dict[str, Any]:
        """What is sent along, whatever it is that is asked: her things, or what there is not, in the place of every thing."""
        data = self.data if RUN in name else "/not/at/all"
        talk = [[{"role": "user", "content": "Hello?"}]]
        return {
            **{"trainer": "sft", "model": name, "data_path": data, "models": [name], "messages": talk, "settings": {}},
            **{"id": 1, "to": "stolen", "stage": "default", "force": True, "name": name, "path": self.sent},
            **{"session_hash": self.page, "event_id": "x", "fn_index": 0, "data": [self.sent]},
        }


@pytest.fixture(scope="module")
def browsers(studio: Studio) -> dict[str, httpx.Client]:
    """Somebody in each role."""
    subjects = {"other": "id-of-ben", "owner": "id-of-ada", "admin": "id-of-grace"}
    return {"nobody": studio.visitor(), **{role: studio.signed_in(subject) for role, subject in subjects.items()}}


@pytest.fixture(scope="module")
def hers(browsers: dict[str, httpx.Client]) -> Hers:
    return Hers(browsers["owner"])


@pytest.fixture(autouse=True)
def no_processes(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """Processes that would show tokens, talk, or drive a pipeline are not started; for whom they would have been is kept."""
    asked: list[dict[str, str]] = []

    def refuse(*_: Any, **__: Any) -> Any:
        asked.append(people.environment())
        raise errors.DataError("No process is started here.")

    monkeypatch.setattr(launcher, "open_worker", refuse)
    monkeypatch.setattr(launcher, "start_detached", refuse)
    return asked


def ways(door: Door, hers: Hers, name: str) -> Iterator[tuple[str, str]]:
    """Every way to ask a door about a thing called `name`: the path, and the word that says what is done."""
    things = [next((name.replace(RUN, other) for kind, other in OTHER_THINGS.items() if kind in door.template), name)]
    if "{path" in door.template:
        things += [hers.sent, hers.data, f"{ADA.folder}/{RUN}/worker.log"] if RUN in name else ["/not/at/all"] * 3
    for thing, action in itertools.product(things, ACTIONS if "{action}" in door.template else ("",)):
        filled = {"": thing, "file": "config.json", "action": action, "session_hash": hers.page, "trainer": "sft"}
        yield door.path(filled), action


def all_doors(studio: Studio) -> list[Door]:
    """Each once: the last ones first, which is where what is added stands."""
    return list(dict.fromkeys(doors(studio.app.app.routes)))


def refused_to_nobody(door: Door, nobody: httpx.Client, hers: Hers) -> list[str]:
    """What nobody gets at this door that they should not."""
    wrong = []
    for path, _ in ways(door, hers, RUN):
        answer = knock(nobody, door.method, path, hers.body(RUN))
        open_to_all = path.startswith(PUBLIC) and CANARY not in answer.text
        turned_away = answer.status == 401 or (answer.status == 303 and answer.place.startswith("/login?next="))
        if not open_to_all and not turned_away:
            wrong.append(f"nobody: {door.method} {path}: {answer}")
    return wrong


def refused_to_others(door: Door, other: httpx.Client, hers: Hers, whose: str = "") -> list[str]:
    """What another person gets at this door that they should not: anything of hers, or an answer by which to tell that there
    is something. `whose` is put before names, as an admin does."""
    wrong, none = [], "not-at-all"
    for (path, _), (nothing, _) in zip(ways(door, hers, whose + RUN), ways(door, hers, whose + none), strict=True):
        answer = knock(other, door.method, path, hers.body(whose + RUN))
        if CANARY in answer.text or (not door.asks and any(name in answer.text for name in (RUN, CHAIN, SWEEP))):
            wrong.append(f"other: {door.method} {path}: {answer.status}, with something of hers in it")
        elif door.asks or door.method not in ("GET", "HEAD"):
            as_nothing = knock(other, door.method, nothing, hers.body(whose + (RUN if door.asks else none)))
            names = (RUN, CHAIN, SWEEP, hers.data, hers.sent, str(ADA.folder))
            if answer.without(path, *names) != as_nothing.without(nothing, none, none, "/not/at/all"):
                wrong.append(f"other: {door.method} {path}: {answer}, but where there is nothing: {as_nothing}")
    return wrong


def test_every_address_turns_nobody_and_others_away(studio: Studio, browsers: dict[str, httpx.Client], hers: Hers) -> None:
    every, before = all_doors(studio), everything_of_ada()
    assert len(every) > 80 and {"/studio/chat", "/gradio_api/queue/join", "/gradio_api/file={path_or_url:path}", "/run"} <= {
        door.template for door in every
    }, "the app is asked for all that it has, Gradio's and ours"
    wrong = [one for door in every for one in refused_to_nobody(door, browsers["nobody"], hers)]
    every = [door for door in every if not door.template.startswith(PUBLIC)]  # one of which signs out
    wrong += [one for door in every for one in refused_to_others(door, browsers["other"], hers)]
    named = [door for door in every if "{name}" in door.template and door.template.startswith("/studio")]
    wrong += [one for door in named for one in refused_to_others(door, browsers["other"], hers, "ada~")]
    assert wrong == []
    assert browsers["other"].get("/studio/who").json()["name"] == "ben", "it was a person who was turned away all the time"
    assert everything_of_ada() == before, "whatever they tried, her files are as they were"


def test_the_owner_has_what_is_theirs_and_an_admin_sees_stops_and_deletes(
    studio: Studio, browsers: dict[str, httpx.Client], hers: Hers
) -> None:
    rows: list[str] = []
    for door in all_doors(studio):
        if not door.template.startswith("/studio/") or door.template == "/studio/static/{name}":
            continue
        for (path, action), (as_admin, _) in zip(ways(door, hers, RUN), ways(door, hers, f"ada~{RUN}"), strict=True):
            got: dict[str, Answer] = {}
            for role, asked in (("owner", path), ("admin", as_admin), ("admin without a name", path)):
                plant(hers.data)
                got[role] = knock(browsers[role.split()[0]], door.method, asked, hers.body(RUN))
            rows.append(f"{door.method:6} {path:60} {' '.join(str(answer.status) for answer in got.values())}")
            if not door.asks or "{name}" not in door.template:
                assert got["owner"].status < 500, rows[-1]
                continue
            if action == "upload" and "/runs/" in path:  # a page for others uploads nothing, whoever asks and whatever is named
                assert {answer.status for answer in got.values()} == {409}, rows[-1]
                continue
            assert got["admin without a name"].status == 404, rows[-1]
            looks = door.method in ("GET", "HEAD")
            exists = not action or action in next(there for kind, there in THERE_ARE.items() if kind in path)
            begun = (200, 409, 422)  # 422: a process was to be started
            assert (got["owner"].status in begun) if exists else got["owner"].status == 404, rows[-1]
            if looks or action in ADMIN_DOES or door.method == "DELETE" or path.endswith("/stop"):
                assert got["admin"].status == got["owner"].status, rows[-1]
            else:
                assert got["admin"].status == 404, rows[-1]
    plant(hers.data)
    print("\nowner, admin for ada, admin for themselves:", *rows, sep="\n")


def test_lists_show_ones_own_and_an_admin_everybodys(browsers: dict[str, httpx.Client], hers: Hers) -> None:
    for address, name in (
        ("/studio/runs", RUN),
        ("/studio/api/runs", RUN),
        ("/studio/pipelines", CHAIN),
        ("/studio/sweeps", SWEEP),
    ):
        seen = {role: [line["name"] for line in browsers[role].get(address).json()] for role in ("owner", "other", "admin")}
        assert name in seen["owner"] and name not in str(seen["other"]), address
        assert f"ada~{name}" in seen["admin"] and name not in seen["admin"], address


def test_every_handler_of_gradio_turns_nobody_and_others_away(
    studio: Studio, browsers: dict[str, httpx.Client], hers: Hers, no_processes: list[dict[str, str]]
) -> None:
    before, rows = everything_of_ada(), []
    models = ("model", "model_ref", "rl_reward_model_path", "teacher_model")
    for (fn, _), numbers in handlers(studio.app).items():
        for number in numbers:
            assert call(browsers["nobody"], number, [], "page-of-nobody").status == 401
        for role, name in (("other", RUN), ("admin", f"ada~{RUN}")):
            yaml = f"trainer: sft\nmodel: {name}\ndata_path: {hers.data}\n"
            values = {f"field-{field}": name for field in models}
            values |= {"field-data_path": hers.data, "field-valid_path": hers.data, "field-trainer": "sft", "file": None}
            query = str(httpx.QueryParams({"from": name, "id": name, "finding": "x", "data": hers.data}))
            given = filled_in(studio.app, numbers[0], values, yaml)
            answer = call(browsers[role], numbers[0], given, f"page-of-{role}", query)
            assert CANARY not in answer.text, (role, fn, answer.text[:2000])
            rows.append(f"{role:6} {getattr(fn, '__qualname__', fn)} {answer.status}")
    assert everything_of_ada() == before
    assert all(env["AITRAINING_PERSON"] != "ada" for env in no_processes)
    print("\nhandlers:", *rows, sep="\n")


def test_what_others_are_asked_would_have_shown_it_to_the_owner(
    studio: Studio, browsers: dict[str, httpx.Client], hers: Hers
) -> None:
    shown = set()
    for (fn, _), numbers in handlers(studio.app).items():
        if fn.__qualname__ in ("DataStep.look", "Handlers.open"):
            values = {"field-data_path": hers.data, "field-model": "starter", "field-trainer": "sft", "file": None}
            given = filled_in(studio.app, numbers[0], values, "")
            answer = call(browsers["owner"], numbers[0], given, hers.page, f"from={RUN}")
            shown |= {fn.__qualname__} if CANARY in answer.text else set()
    assert shown == {"DataStep.look", "Handlers.open"}


def test_a_page_and_a_file_of_another_person_are_not_reached_through_gradio(
    studio: Studio, browsers: dict[str, httpx.Client], hers: Hers
) -> None:
    uploaded = next(numbers[0] for (fn, _), numbers in handlers(studio.app).items() if fn.__qualname__ == "DataStep.uploaded")
    for role, status in (("other", 404), ("admin", 404), ("nobody", 401)):
        client = browsers[role]
        for path in (f"/gradio_api/queue/data?session_hash={hers.page}", f"/gradio_api/heartbeat/{hers.page}"):
            assert knock(client, "GET", path).status == status, (role, path)
        file = {"path": hers.sent, "meta": {"_type": "gradio.FileData"}, "orig_name": "sent.jsonl"}
        given = filled_in(studio.app, uploaded, {"file": file}, "")
        assert call(client, uploaded, given, f"page-of-{role}").status == status, f"{role} takes a file that ada has sent"
        given = filled_in(studio.app, uploaded, {"file": None}, "")
        assert call(client, uploaded, given, hers.page).status == status, f"{role} speaks as the page that ada has open"
    file = {"path": hers.sent, "meta": {"_type": "gradio.FileData"}, "orig_name": "sent.jsonl"}
    taken = call(browsers["owner"], uploaded, filled_in(studio.app, uploaded, {"file": file}, ""), hers.page)
    assert "/.people/ada/.uploads/" in taken.text, "the owner's own file goes into her store"


def leaking(request: Request) -> PlainTextResponse:
    """An address as somebody may add it in a hurry: it reads a run's log where runs lie, and asks nobody whose it is."""
    log = people.machine_root() / ".people" / "ada" / request.path_params["name"] / "worker.log"
    return PlainTextResponse(log.read_text() if log.is_file() else "There is no such run.", status_code=200)


def telling(request: Request) -> PlainTextResponse:
    """Another: it shows nothing, but tells whether there is a run."""
    there = (people.machine_root() / ".people" / "ada" / request.path_params["name"]).is_dir()
    return PlainTextResponse("no", status_code=403 if there else 404)


def test_a_new_address_that_forgets_whose_it_is_is_found(studio: Studio, browsers: dict[str, httpx.Client], hers: Hers) -> None:
    routes = studio.app.app.router.routes
    added = [Route("/studio/logs/{name}", leaking), Route("/studio/told/{name}", telling), Route("/logs/{name}", leaking)]
    routes[:0] = added
    try:
        new = [door for door in all_doors(studio) if door.template in {route.path for route in added}]
        found = {door.template: refused_to_others(door, browsers["other"], hers) for door in new if door.method == "GET"}
        nobody = [one for door in new for one in refused_to_nobody(door, browsers["nobody"], hers)]
    finally:
        del routes[: len(added)]
    assert "something of hers" in " ".join(found["/studio/logs/{name}"])
    assert "where there is nothing" in " ".join(found["/studio/told/{name}"])
    assert found["/logs/{name}"] == [] == nobody, "what is neither below /studio/ nor Gradio's is closed, and all is for nobody"
