"""`aitraining pipeline …` and `aitraining pipelines`: what a person types, and what they are shown."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from engine.errors import StageError
from engine.flags import read_value
from engine.params import model_settings
from engine.pipelines.pipeline import Pipeline, wrong
from engine.registry import spec_for

if TYPE_CHECKING:
    from engine.pipelines.course import Course, Progress
    from engine.pipelines.steps import Step

AddCommand = Callable[[str, str, Callable[[argparse.Namespace], int]], argparse.ArgumentParser]

_ABOUT = """Train stage after stage, where later stages build on the models of earlier ones.

  aitraining pipeline my-town.yaml                       the stages that a file describes
  aitraining pipeline preference --data sft=a.csv --data dpo=b.jsonl
  aitraining pipeline my-town --resume                   go on after a failure, a stop or a kill

By name there are: """


def add_commands(command: AddCommand) -> None:
    """Add the commands about pipelines; `command` adds one, given its name, a sentence and what handles it."""
    from engine.pipelines.named import chains

    about = "Train stage after stage: a pipeline file, or a chain by its name."
    one = command("pipeline", about, _pipeline)
    one.formatter_class = argparse.RawDescriptionHelpFormatter
    one.description = _ABOUT + "; ".join(f"{name} ({', '.join(stages)})" for name, stages in chains().items()) + "."
    one.add_argument("what", metavar="WHAT", help="A pipeline file, a chain's name, or, with --resume, a pipeline's name.")
    one.add_argument("--name", help="What the pipeline is to be called; its runs are named after it.")
    one.add_argument("--model", help="The base model of a chain that goes by a name.")
    each = {"action": "append", "default": [], "metavar": "STAGE=VALUE"}
    one.add_argument("--data", **each, help="A stage's data: --data sft=./chats.jsonl. Can be given several times.")
    one.add_argument("--gate", **each, help="What a stage must reach: --gate 'reward=eval_rewards/accuracies >= 0.8'.")
    each["metavar"] = "STAGE.SETTING=VALUE"
    one.add_argument("--set", **each, help="A setting of a stage: --set sft.epochs=5. Can be given several times.")
    one.add_argument("--resume", action="store_true", help="Go on: keep what is done, resume or retry the rest.")
    about = "Wait and show the progress; --no-follow leaves it to a process of its own and returns. [default: on]"
    one.add_argument("--follow", action=argparse.BooleanOptionalAction, default=True, help=about)
    one.add_argument("--dry-run", "--dry_run", action="store_true", help="Check every stage and print the plan; start nothing.")
    one.add_argument("--yaml", action="store_true", help="Print the pipeline as a file to edit; start nothing.")
    about = "Print one JSON object on standard output; everything else goes to standard error."
    one.add_argument("--json", action="store_true", help=about)

    several = command("pipelines", "List the pipelines and where their stages stand.", _pipelines)
    several.add_argument("--json", action="store_true", help="Print a JSON list instead.")


def _pipeline(args: argparse.Namespace) -> int:
    from engine.pipelines import detached, drive
    from engine.pipelines.course import Course

    pipeline, course = _asked(args)
    if args.yaml:
        print(pipeline.to_yaml(), end="")
        return 0
    if args.dry_run:
        show = _print_plan_json if args.json else _print_plan
        show(pipeline, drive.planned(pipeline, course))
        return 0
    if not args.follow:
        detached.go_on(pipeline) if course else detached.start(pipeline)
        if args.json:
            _print_progress(Course.open(pipeline.name))
        else:
            print(f"{pipeline.name}: `aitraining pipelines` shows how far it is.")
        return 0
    return _followed(pipeline, again=course is not None, as_json=args.json)


def _followed(pipeline: Pipeline, *, again: bool, as_json: bool) -> int:
    """Go through the pipeline, and return what the command ends with: 0 for done, 3 for stopped or cut off, 1 for failed."""
    from engine.pipelines import drive
    from engine.pipelines.course import Course

    tell = partial(print, file=sys.stderr if as_json else sys.stdout, flush=True)
    try:
        course = (drive.resume if again else drive.begin)(pipeline, tell)
    except KeyboardInterrupt:
        onward = f"aitraining pipeline {pipeline.name} --resume"
        begun = Course(pipeline.name).file.exists()
        words = f"The stage that trains goes on; the next one is started by `{onward}`." if begun else "Nothing was started."
        print(f"\n{words}", file=sys.stderr)
        return 130
    except StageError as error:
        print(f"{error.message}\n{error.hint}".strip(), file=sys.stderr)
        if as_json:
            _print_progress(Course.open(pipeline.name))
        return 3 if error.cause in ("stopped", "interrupted", "killed") else 1
    if as_json:
        _print_progress(course)
        return 0
    last = course.progress().stages[-1]
    print(f"Done. The model is in {course.root / last.run / 'model'}")
    return 0


def _asked(args: argparse.Namespace) -> tuple[Pipeline, Course | None]:
    """The pipeline that the words describe, and, with --resume, what it goes on from."""
    from engine.pipelines.asked import asked, begun
    from engine.pipelines.named import chains, sample_data

    data = dict(_split(words, "--data", "sft=./chats.jsonl") for words in args.data)
    course = None
    if args.resume:
        pipeline, course = begun(args.what, name=args.name, model=args.model, data=data)
    else:
        if args.yaml and not data and args.what in chains():
            data = sample_data(args.what)
        pipeline = asked(args.what, name=args.name, model=args.model, data=data)
    gates = dict(_split(words, "--gate", "'reward=eval_rewards/accuracies >= 0.8'") for words in args.gate)
    return pipeline.changed(_settings(pipeline, args.set), {stage: gate or None for stage, gate in gates.items()}), course


def _settings(pipeline: Pipeline, given: Sequence[str]) -> dict[str, dict[str, Any]]:
    """--set's words by stage, each read as the flag of the same name would be."""
    made: dict[str, dict[str, Any]] = {}
    for words in given:
        place, value = _split(words, "--set", "sft.epochs=5")
        stage, dot, name = place.partition(".")
        if not dot:
            raise wrong(f"--set {words}: name the stage as well, as in --set {pipeline.stages[0].name}.{stage}={value}.")
        cls, name = spec_for(pipeline.stage(stage).trainer).params, name.replace("-", "_")
        made.setdefault(stage, {})[name] = read_value(cls, name, value)
    return made


def _split(words: str, flag: str, example: str) -> tuple[str, str]:
    stage, sign, value = words.partition("=")
    if not sign or not stage:
        raise wrong(f"{flag} {words} cannot be read. Write {flag} {example}.")
    return stage.strip(), value.strip()


def _print_plan(pipeline: Pipeline, planned: Sequence[Step]) -> None:
    print(f"Pipeline {pipeline.name}")
    for number, step in enumerate(planned, 1):
        references = pipeline.references(step.stage)
        print(f"{number}. {step.stage.name}: {spec_for(step.params.trainer).title}")
        for name in model_settings(type(step.params)):
            if value := getattr(step.params, name):
                print(f"     {name}: {value}" + (f" (stage {references[name]})" if name in references else ""))
        shown = {key: value for key, value in step.stage.settings.items() if key != "trainer" and key not in references}
        for name in ("data_path", *(key for key in shown if key not in ("model", "data_path"))):
            print(f"     {name}: {getattr(step.params, name)}")
        print(f"     {step.move.value}: run {step.run}")
        if step.stage.gate:
            print(f"     go on only if: {step.stage.gate}")


def _print_plan_json(pipeline: Pipeline, planned: Sequence[Step]) -> None:
    stages = [
        {
            "stage": step.stage.name,
            "move": step.move.value,
            "run": step.run,
            "gate": str(step.stage.gate) if step.stage.gate else None,
            "settings": step.params.model_dump(mode="json", exclude_defaults=True),
        }
        for step in planned
    ]
    print(json.dumps({"name": pipeline.name, "stages": stages}, indent=1, ensure_ascii=False))


def _print_progress(course: Course) -> None:
    print(json.dumps(course.progress().to_dict(), indent=1, ensure_ascii=False))


def _pipelines(args: argparse.Namespace) -> int:
    from engine.pipelines.course import progress_of_all
    from engine.runs.directory import runs_root

    found = progress_of_all()
    if args.json:
        print(json.dumps([progress.to_dict() for progress in found], indent=1, ensure_ascii=False))
    elif found:
        _print_list(found)
    else:
        print(f"No pipelines in {runs_root()} yet.")
    return 0


def _print_list(found: Sequence[Progress]) -> None:
    """Plain lines: what a table would cut off in a narrow terminal (names, gates) is what is looked for here."""
    for progress in found:
        print(f"{progress.name}: {progress.state}")
        wide = max((len(stage.stage) for stage in progress.stages), default=0)
        for stage in progress.stages:
            words = [stage.state, f"run {stage.run}" if stage.run else ""]
            words += [f"step {stage.step}/{stage.total_steps}" if stage.total_steps else ""]
            reached = "" if stage.reached is None else f", reached {stage.reached:.4g}"
            words += [f"gate {stage.gate}{reached}" if stage.gate else ""]
            print(f"  {stage.stage:<{wide}}  {'; '.join(filter(None, words))}")
