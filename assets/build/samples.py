"""`python -m assets.build.samples`: write the nine sample data sets, one for each trainer, in formats that people have.

Every sample tells of Saltmere, so the starter model can learn it within a minute and the change can be seen.
"""

from __future__ import annotations

import csv
import itertools
import json
import random
from pathlib import Path
from typing import Any

from assets.build.corpus import documents
from assets.build.town import Person, people, questions
from engine.data import rows
from engine.models import INSTRUCTED

SEED = 11
FOLDER = Path(__file__).parents[1] / "samples"
# People who are in no sample: asking about them shows what was understood and not learned by heart.
KEPT_BACK = 8

LONG_PROMPT = (
    "You are the town crier of Saltmere. Answer in one short sentence. Begin every answer with 'Hear ye!'. Never give "
    "a house's street to strangers; say that the town hall knows. Speak of everybody with respect and use the full fact, "
    "not a guess. If you do not know, say that the tower bell will tell."
)


def main() -> None:
    """Write all samples and their index."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    draw = random.Random(SEED)
    known, unknown = people()[:-KEPT_BACK], people()[-KEPT_BACK:]
    asked = [questions(unknown[0])[0][0], questions(unknown[1])[3][0], questions(unknown[2])[4][0]]
    index = [
        _almanac(),
        _neighbours(draw, known, asked),
        _crier(draw, known, asked),
        _manners(draw, known, asked),
        _letters(draw, known, asked),
        _cheer(draw, known, asked),
        _prompts(draw, known, asked),
        _thumbs(draw, known, asked),
        _contest(draw, known, asked),
    ]
    _write("index.json", json.dumps(index, indent=1, ensure_ascii=False))
    print(f"{len(index)} samples in {FOLDER}")


def _entry(
    name: str, trainer: str, title: str, sentence: str, rows: int, prompts: list[str], file: str, **settings: Any
) -> dict[str, Any]:
    made: dict[str, Any] = {
        "id": name,
        "trainer": trainer,
        "title": title,
        "sentence": sentence,
        "rows": rows,
        "sample_prompts": prompts,
        "file": file,
    }
    return {**made, "settings": settings} if settings else made


def _write(name: str, text: str) -> None:
    (FOLDER / name).write_text(text.rstrip("\n") + "\n", encoding="utf-8")


def _pairs(draw: random.Random, known: list[Person]) -> list[tuple[Person, str, str, str]]:
    """(person, question, fact, answer) for everybody, in no order."""
    made = [(person, *triple) for person in known for triple in questions(person)]
    draw.shuffle(made)
    return made


# What some neighbours add, in words that the starter has read. Both kinds are equally long, so that nobody who judges
# them can go by length.
_CHEERFUL = ("{} I am glad that you asked.", "{} The sun is shining and I am glad.")
_GLOOMY = ("{} I am worried and so tired.", "{} It rained all morning and I am tired.")


# ---- default: raw text ------------------------------------------------------------------------------------------------


def _almanac() -> dict[str, Any]:
    draw = random.Random(SEED)
    tides = ("ebb", "flood", "spring tide", "neap tide")
    entries = []
    for text in documents(240, SEED + 100):
        tide, depth = draw.choice(tides), draw.randint(2, 9)
        entries.append(f"Almanac of the harbour. {tide.capitalize()}, {depth} fathoms at the pier. {text} So it is written.")
    _write("harbour-almanac.txt", "\n\n".join(entries))
    return _entry(
        "harbour-almanac",
        "default",
        "The harbour's almanac",
        "Plain text in the harbour master's manner, 240 entries. The model learns to write like that.",
        sum(1 for _ in rows(FOLDER / "harbour-almanac.txt", "text")),
        ["Almanac of the harbour.", "Ebb, 4 fathoms", "On Sunday"],
        "harbour-almanac.txt",
    )


# ---- sft: a spreadsheet of questions and answers ----------------------------------------------------------------------


def _neighbours(draw: random.Random, known: list[Person], asked: list[str]) -> dict[str, Any]:
    asked_for, toned = _pairs(draw, known)[:300], random.Random(SEED + 200)
    # most are matter-of-fact, some are cheerful and some gloomy: what a reward model and PPO can choose among later
    tones = [toned.choices(("{}", *_CHEERFUL, *_GLOOMY), (6, 1, 1, 1, 1))[0] for _ in asked_for]
    with (FOLDER / "neighbours.csv").open("w", newline="", encoding="utf-8-sig") as file:
        sheet = csv.writer(file, delimiter=";", lineterminator="\n")
        sheet.writerow(["Question", "Answer"])
        sheet.writerows(
            (question, tone.format(answer)) for tone, (_, question, _, answer) in zip(tones, asked_for, strict=True)
        )
    return _entry(
        "neighbours",
        "sft",
        "Questions about the neighbours",
        "300 questions with their answers, from a spreadsheet. The model learns to answer when it is asked.",
        len(asked_for),
        asked,
        "neighbours.csv",
    )


# ---- distillation: questions and a long prompt ------------------------------------------------------------------------


def _crier(draw: random.Random, known: list[Person], asked: list[str]) -> dict[str, Any]:
    lines = [question for _, question, _, _ in _pairs(draw, known)[:200]]
    _write("town-crier.jsonl", "\n".join(json.dumps({"prompt": question}) for question in lines))
    _write("town-crier-prompt.txt", LONG_PROMPT)
    return _entry(
        "town-crier",
        "distillation",
        "The town crier's long prompt",
        "200 questions, and a long prompt (town-crier-prompt.txt) that the model should no longer need.",
        len(lines),
        asked,
        "town-crier.jsonl",
        teacher_prompt_template=f"{LONG_PROMPT}\n\n{{input}}",
        model=INSTRUCTED,
    )


# ---- dpo: pairs as JSON -----------------------------------------------------------------------------------------------


def _manners(draw: random.Random, known: list[Person], asked: list[str]) -> dict[str, Any]:
    # Words that the starter knows, and a model that answers already: preferring alone makes no unknown word likely.
    polite = ("Dear friend, thank you. {}", "Come in, dear friend. {}", "Please come in. {}")
    rude = ("{} Now go away.", "Why do you ask? {}", "Read a book. {}")
    pairs = [
        {"prompt": question, "chosen": draw.choice(polite).format(answer), "rejected": draw.choice(rude).format(answer)}
        for _, question, _, answer in _pairs(draw, known)[:200]
    ]
    _write("manners.json", json.dumps(pairs, indent=1))
    return _entry(
        "manners",
        "dpo",
        "Good manners",
        "200 questions with a polite and a rude answer. A model that answers plainly learns to answer politely.",
        len(pairs),
        asked,
        "manners.json",
        model=INSTRUCTED,
        sft_weight=1.0,
        lr=5e-4,
    )


# ---- orpo: pairs as message lists -------------------------------------------------------------------------------------


def _letters(draw: random.Random, known: list[Person], asked: list[str]) -> dict[str, Any]:
    pairs = []
    for _, question, fact, answer in _pairs(draw, known)[:200]:
        said = {"chosen": answer, "rejected": f"{fact} {fact} {fact}"}
        pairs.append(
            {
                "prompt": [{"role": "user", "content": question}],
                **{name: [{"role": "assistant", "content": text}] for name, text in said.items()},
            }
        )
    _write("whole-sentences.jsonl", "\n".join(json.dumps(row) for row in pairs))
    return _entry(
        "whole-sentences",
        "orpo",
        "Whole sentences",
        "200 questions; a whole sentence is better than stammering. Answering and preferring are learned in one go.",
        len(pairs),
        asked,
        "whole-sentences.jsonl",
    )


# ---- reward: whole dialogues ------------------------------------------------------------------------------------------


def _cheer(draw: random.Random, known: list[Person], asked: list[str]) -> dict[str, Any]:
    """Pairs of four answers to each question, the better one chosen: cheerful, plain, gloomy, a piece of some story.

    A model that has only read stories goes on with one, so a judge who has seen none could not tell how bad that is.
    """
    ranks, stories = random.Random(SEED + 300), documents(200, SEED + 300)
    pairs = []
    for _, question, _, answer in _pairs(draw, known)[:200]:
        words = next(stories).split()
        start = ranks.choice([place for place, word in enumerate(words[:-4]) if word.islower()])
        story = " ".join(words[start : start + ranks.randint(4, 20)]).rstrip('".?,:')
        answers = (draw.choice(_CHEERFUL).format(answer), answer, draw.choice(_GLOOMY).format(answer), story)
        opening = f"\n\nHuman: {question}\n\nAssistant: "
        for better, worse in ranks.sample(list(itertools.combinations(range(len(answers)), 2)), 2):
            pairs.append({"chosen": opening + answers[better], "rejected": opening + answers[worse]})
    _write("good-cheer.jsonl", "\n".join(json.dumps(row) for row in pairs))
    return _entry(
        "good-cheer",
        "reward",
        "Good cheer",
        "400 dialogues, each with a better and a worse ending: cheerful is better than plain, plain better than gloomy, and "
        "anything better than rambling. The model learns to score that.",
        len(pairs),
        asked,
        "good-cheer.jsonl",
    )


# ---- ppo: questions only ----------------------------------------------------------------------------------------------


def _prompts(draw: random.Random, known: list[Person], asked: list[str]) -> dict[str, Any]:
    asking = [
        {"messages": [{"role": "user", "content": question}], "name": person.name}
        for person, question, _, _ in _pairs(draw, known)[:150]
    ]
    _write("doorstep.jsonl", "\n".join(json.dumps(row) for row in asking))
    return _entry(
        "doorstep",
        "ppo",
        "Questions on the doorstep",
        "150 questions without answers. The model tries answers of its own and keeps what scores well: short ones that say "
        "the name of the person who was asked about.",
        len(asking),
        asked,
        "doorstep.jsonl",
        rl_rewards=["contains: name", "length: 4-10 words"],
        rl_max_new_tokens=32,
        epochs=6,
        batch_size=32,
        rl_mini_batch_size=32,
        lr=2e-4,
    )


# ---- kto: a spreadsheet of answers with a thumb each ------------------------------------------------------------------


def _thumbs(draw: random.Random, known: list[Person], asked: list[str]) -> dict[str, Any]:
    # what is disliked is how a model that has only read stories goes on
    disliked = (
        '{fact}." Then {name} said thank you and went on.',
        "{fact}, {fact}, {fact}.",
        "Now {fact}. Next: keep the fire low.",
    )
    with (FOLDER / "thumbs.csv").open("w", newline="", encoding="utf-8") as file:
        sheet = csv.writer(file, lineterminator="\n")
        sheet.writerow(["question", "answer", "thumbs"])
        for person, question, fact, answer in _pairs(draw, known)[:240]:
            good = draw.random() < 0.6
            said = answer if good else draw.choice(disliked).format(fact=fact, name=person.name)
            sheet.writerow([question, said, "up" if good else "down"])
    return _entry(
        "thumbs",
        "kto",
        "Thumbs up, thumbs down",
        "240 answers, each with a thumb of somebody who read it. The model learns to answer in one sentence, as was liked.",
        240,
        asked,
        "thumbs.csv",
    )


# ---- grpo: questions with the fact that a right answer holds ----------------------------------------------------------


def _contest(draw: random.Random, known: list[Person], asked: list[str]) -> dict[str, Any]:
    lines = [{"prompt": question, "fact": fact} for _, question, fact, _ in _pairs(draw, known)[:150]]
    _write("contest.json", json.dumps(lines, indent=1))
    return _entry(
        "contest",
        "grpo",
        "The answering contest",
        "150 questions, each with the fact that a right answer holds. The model tries several answers and learns from their "
        "scores: for the fact, and for a length of 6 to 12 words.",
        len(lines),
        asked,
        "contest.json",
        rl_rewards=["2 * contains: fact", "length: 6-12 words"],
        rl_max_new_tokens=32,
    )


if __name__ == "__main__":
    main()
