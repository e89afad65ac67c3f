"""The texts of Saltmere: portraits, days, visits, talks, letters, notices, recipes, written by a grammar.

`documents(count, seed)` draws them; the same seed gives the same texts. Facts about people are true everywhere, names
stay the same through a text, and what happens follows from what happened, so that a model has more to learn than
which word follows which.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from assets.build.town import DISHES, JOBS, PETS, STREETS, Person, people, questions

_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_SEASONS = ("spring", "summer", "autumn", "winter")
# weather: (what it is like, what people do about it)
_WEATHER = {
    "It rained all morning": ("the streets were wet", "stayed inside"),
    "The sun was shining": ("the sea was bright", "sat outside"),
    "A cold wind came from the sea": ("the boats stayed in the harbour", "wore a thick coat"),
    "Fog lay over the town": ("nobody could see the lighthouse", "carried a lantern"),
    "Snow had fallen in the night": ("the roofs were white", "swept the steps"),
    "It was warm and still": ("the bees were humming", "opened all the windows"),
}
_THINGS = {
    "key": ("a door", "opened the door"),
    "letter": ("an old friend", "read it aloud"),
    "lantern": ("a dark night", "lit it at once"),
    "umbrella": ("a rainy day", "walked home dry"),
    "hat": ("a windy hill", "put it on"),
    "watch": ("a birthday", "wound it up"),
    "spoon": ("a good soup", "cooked supper"),
    "boat": ("a long trip", "rowed across the bay"),
}
_HIDING = ("under the table", "behind the stove", "in the tall grass", "next to the well", "on the windowsill", "under a bench")
_FEELINGS = {
    "glad": "smiled",
    "tired": "yawned",
    "worried": "frowned",
    "proud": "stood very straight",
    "surprised": "laughed out loud",
}
_NEEDS = {"flour": "the mill", "honey": "the orchard", "fish": "the pier", "beans": "the garden", "bread": "the bakery"}
_STEPS = (
    "Wash everything in cold water.",
    "Cut it into small pieces.",
    "Stir it slowly with a wooden spoon.",
    "Add a pinch of salt.",
    "Let it rest for an hour.",
    "Cover the pot with a lid.",
    "Taste it before you serve it.",
    "Keep the fire low.",
)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _verb(dish: str, one: str, many: str) -> str:
    return many if dish.endswith("s") else one


def _portrait(draw: random.Random, everybody: list[Person]) -> str:
    p = draw.choice(everybody)
    she = p.she.capitalize()
    facts = [
        draw.choice((f"{she} lives in {p.street}.", f"{_capital(p.her)} house stands in {p.street}.")),
        draw.choice((f"{she} works at {p.place}.", f"Most days {p.she} can be found at {p.place}.")),
        draw.choice((f"{she} has {p.pet}.", f"{_capital(p.pet)} keeps {p.her} house.")),
        draw.choice((f"{she} likes {p.dish} best.", f"Nothing tastes better to {p.name} than {p.dish}.")),
        draw.choice((f"{_capital(p.her)} favourite colour is {p.colour}.", f"{she} paints every door {p.colour}.")),
        draw.choice((f"In the evening {p.she} {p.hobby}.", f"When the work is done, {p.she} {p.hobby}.")),
        draw.choice((f"{she} is {p.trait}.", f"Everybody says that {p.name} is {p.trait}.")),
    ]
    draw.shuffle(facts)
    opening = draw.choice(
        (
            f"{p.name} is the {p.job} of Saltmere.",
            f"{p.name} {p.does}.",
            f"Ask anybody in Saltmere who {p.does}: it is {p.name}.",
        )
    )
    return " ".join([opening, *facts[: draw.randint(3, 7)]])


def _day(draw: random.Random, everybody: list[Person]) -> str:
    p, weather = draw.choice(everybody), draw.choice(list(_WEATHER))
    like, habit = _WEATHER[weather]
    she, feeling = p.she.capitalize(), draw.choice(list(_FEELINGS))
    return " ".join(
        (
            f"{weather} on {draw.choice(_DAYS)}, and {like}.",
            f"{p.name} got up {draw.choice(('early', 'late', 'before the sun'))} and {habit}.",
            draw.choice((f"{she} went to {p.place} with {p.carries}.", f"{she} took {p.carries} and walked to {p.place}.")),
            f"There {p.she} worked until {draw.choice(('noon', 'the bell rang', 'the light was gone'))}.",
            draw.choice((f"Then {p.she} ate {p.dish}.", f"For supper there {_verb(p.dish, 'was', 'were')} {p.dish}.")),
            f"In the evening {p.she} {p.hobby}, and that day was no different.",
            f"{p.name} was {feeling} and {_FEELINGS[feeling]}.",
        )
    )


def _lost(draw: random.Random, everybody: list[Person]) -> str:
    p, friend = draw.sample(everybody, 2)
    thing, hiding = draw.choice(list(_THINGS)), draw.choice(_HIDING)
    use, end = _THINGS[thing]
    she = p.she.capitalize()
    told = draw.random() < 0.5
    middle = (
        (
            f'{she} asked {friend.name} the {friend.job}: "Have you seen my {thing}?"',
            f'"I saw it {hiding}," said {friend.name}.',
            f"{p.name} looked {hiding}, and there was the {thing}.",
        )
        if told
        else (
            f"{she} looked at {p.place}, but it was not there.",
            f"In the end {p.pet} found it: the {thing} lay {hiding}.",
        )
    )
    return " ".join(
        (
            f"{p.name} had lost {p.her} {thing}.",
            f"It was good for {use}, and {p.she} missed it.",
            *middle,
            f"{p.name} was glad and {end}.",
            *((f"{she} gave {friend.name} some {friend.dish} to say thank you.",) if told else ()),
        )
    )


def _visit(draw: random.Random, everybody: list[Person]) -> str:
    guest, host = draw.sample(everybody, 2)
    need = draw.choice(list(_NEEDS))
    return " ".join(
        (
            f"On {draw.choice(_DAYS)} {guest.name} visited {host.name} in {host.street}.",
            f"{host.name}, who is {host.trait}, opened the {host.colour} door.",
            f'"Come in," said {host.name}. "There {_verb(host.dish, "is", "are")} {host.dish} on the table."',
            draw.choice(
                (
                    f"{guest.name} had brought {guest.carries}.",
                    f"{guest.name} told {host.name} about {guest.place}, where {guest.she} {guest.does}.",
                )
            ),
            f"They talked about the {draw.choice(_SEASONS)} and about {need}, which you get at {_NEEDS[need]}.",
            f"{_capital(host.pet)} slept {draw.choice(_HIDING)} while {host.name} told how {host.she} {host.hobby}.",
            f"When {guest.name} went home, {host.name} waved from the door.",
        )
    )


def _letter(draw: random.Random, everybody: list[Person]) -> str:
    writer, reader = draw.sample(everybody, 2)
    weather = draw.choice(list(_WEATHER))
    return " ".join(
        (
            f"Dear {reader.name},",
            f"thank you for your letter. {weather} here, and {_WEATHER[weather][0]}.",
            f"I am still the {writer.job}, so I am at {writer.place} nearly every day.",
            f"How is {reader.pet.replace('a ', 'your ', 1)}? Mine, {writer.pet}, is well.",
            f"Come to {writer.street} on {draw.choice(_DAYS)}, and I will make {writer.dish} for you,",
            f"or {reader.dish} if you like that better.",
            f"Your friend {writer.name}",
        )
    )


def _notice(draw: random.Random, everybody: list[Person]) -> str:
    p, day = draw.choice(everybody), draw.choice(_DAYS)
    hour = draw.randint(7, 11)
    kinds = (
        f"Notice. On {day} {p.place} opens at {hour} o'clock. {p.name} the {p.job} will be there. "
        f"Everybody from {draw.choice(STREETS)} to {p.street} is welcome.",
        f"Found on {day} in {p.street}: {draw.choice(PETS)}. It answers to the smell of {p.dish}. "
        f"Please ask {p.name} at {p.place}.",
        f"The market is on {day}. {p.name} {p.does} and will bring {p.carries}. There will be {p.dish} for all.",
        f"The ferry leaves the harbour on {day} at {hour} o'clock and comes back at {hour + 6} o'clock. "
        f"{p.name} of {p.street} keeps the tickets.",
    )
    return draw.choice(kinds)


def _recipe(draw: random.Random, everybody: list[Person]) -> str:
    dish = draw.choice(DISHES)
    lovers = [p for p in everybody if p.dish == dish]
    p = draw.choice(lovers) if lovers else draw.choice(everybody)
    steps = draw.sample(_STEPS, draw.randint(3, 5))
    order = ("First:", "Then:", "Next:", "After that:", "Last:")
    numbered = " ".join(f"{word} {step}" for word, step in zip(order, steps, strict=False))
    need = draw.choice(list(_NEEDS))
    begin = f"How {p.name} makes {dish}. Get some {need} from {_NEEDS[need]}."
    return f"{begin} {numbered} Now the {dish} {_verb(dish, 'is', 'are')} ready."


def _work(draw: random.Random, everybody: list[Person]) -> str:
    job = draw.choice(list(JOBS))
    does, place, carries = JOBS[job]
    names = [p.name for p in everybody if p.job == job]
    listed = ", ".join(names[:-1]) + f" and {names[-1]}" if len(names) > 1 else names[0]
    p = draw.choice([p for p in everybody if p.job == job])
    return " ".join(
        (
            f"Every {job} in Saltmere {does}.",
            f"The work is done at {place}, and you can tell a {job} by {carries}.",
            f"We have {listed}.",
            f"{p.name} has done it for {draw.randint(2, 40)} years and is {p.trait}.",
            f"Children who want to become a {job} may watch on {draw.choice(_DAYS)}.",
        )
    )


def _talk(draw: random.Random, everybody: list[Person]) -> str:
    """Somebody asks about a neighbour and is told: the only place where questions have answers."""
    asker, teller = draw.sample(everybody, 2)
    p = draw.choice(everybody)
    told = draw.sample(questions(p), draw.randint(2, 4))
    said = [f"{asker.name} met {teller.name} at {draw.choice(everybody).place}."]
    for question, _, answer in told:
        said.append(draw.choice((f'"{question}" asked {asker.name}.', f'{asker.name} asked: "{question}"')))
        said.append(draw.choice((f'"{answer}" said {teller.name}.', f'{teller.name} said: "{answer}"')))
    said.append(f"Then {asker.name} said thank you and went on.")
    return " ".join(said)


_KINDS: tuple[tuple[Callable[[random.Random, list[Person]], str], int], ...] = (
    (_portrait, 30),
    (_day, 18),
    (_lost, 14),
    (_visit, 16),
    (_letter, 8),
    (_notice, 7),
    (_recipe, 4),
    (_work, 3),
    (_talk, 22),
)


def documents(count: int, seed: int) -> Iterator[str]:
    """`count` texts of 30 to 130 words."""
    draw, everybody = random.Random(seed), people()
    kinds, weights = zip(*_KINDS, strict=True)
    for _ in range(count):
        yield draw.choices(kinds, weights)[0](draw, everybody)
