"""Saltmere, the small world that the starter model knows: who lives there, what they do, what they like.

Drawn once from a fixed seed, so that every text and every sample tells the same facts about the same people.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

SEED = 7

_WOMEN = """
    Mara Tilda Ines Odile Petra Hanna Clara Runa Edda Lotte Nora Selma Wanda Elsa Freya Ida Juna Kaja Livia Mina Nella Orla
    Pia Rosa Saga
"""
_MEN = """
    Tom Ivo Bram Casper Dario Emil Finn Gustav Henk Ilja Jonas Kasimir Leon Magnus Nils Oskar Pavel Quentin Ruben Stefan
    Tarek Ulf Viktor Willem Yannis
"""

# job: (what they do, where, what they carry)
JOBS = {
    "baker": ("bakes bread", "the bakery", "a basket of warm rolls"),
    "fisher": ("catches fish", "the pier", "a net full of herring"),
    "gardener": ("grows vegetables", "the garden", "a pot of young beans"),
    "teacher": ("teaches the children", "the school", "a pile of books"),
    "doctor": ("cares for the sick", "the clinic", "a black bag"),
    "carpenter": ("builds chairs and tables", "the workshop", "a box of nails"),
    "postman": ("brings the letters", "the post office", "a bag of letters"),
    "painter": ("paints pictures of the sea", "the studio", "a set of brushes"),
    "miller": ("grinds the flour", "the mill", "a sack of flour"),
    "beekeeper": ("keeps the bees", "the orchard", "a jar of honey"),
    "captain": ("sails the ferry", "the harbour", "an old map"),
    "librarian": ("lends the books", "the library", "a lamp and a book"),
    "shepherd": ("watches the sheep", "the hill", "a long wooden stick"),
    "clockmaker": ("mends the clocks", "the tower", "a tiny screwdriver"),
    "cook": ("cooks for the travellers", "the inn", "a pot of soup"),
    "musician": ("plays the violin", "the square", "a violin case"),
}
PETS = (
    "a grey cat",
    "a brown dog",
    "a white goat",
    "a green parrot",
    "a small pony",
    "a tame crow",
    "a black hen",
    "a slow turtle",
)
DISHES = (
    "onion soup",
    "apple pie",
    "fried fish",
    "barley bread",
    "plum cake",
    "potato salad",
    "honey pancakes",
    "bean stew",
    "cheese dumplings",
    "berry jam",
)
COLOURS = ("red", "blue", "green", "yellow", "orange", "purple", "white", "brown")
STREETS = ("Anchor Lane", "Lantern Street", "Mill Road", "Gull Alley", "Garden Row", "Ferry Street", "Church Hill", "Rope Walk")
TRAITS = ("patient", "cheerful", "quiet", "curious", "stubborn", "generous", "careful", "brave")
HOBBIES = (
    "collects shells",
    "sings in the choir",
    "reads old letters",
    "swims before breakfast",
    "carves small boats",
    "draws maps",
    "plays chess",
    "counts the stars",
)


@dataclass(frozen=True)
class Person:
    """Somebody of Saltmere, with one fact of each sort."""

    name: str
    she: str
    her: str
    job: str
    pet: str
    dish: str
    colour: str
    street: str
    trait: str
    hobby: str

    @property
    def does(self) -> str:
        return JOBS[self.job][0]

    @property
    def place(self) -> str:
        return JOBS[self.job][1]

    @property
    def carries(self) -> str:
        return JOBS[self.job][2]


def people() -> list[Person]:
    """Everybody, always the same."""
    draw = random.Random(SEED)
    named = [(name, "she", "her") for name in _WOMEN.split()] + [(name, "he", "his") for name in _MEN.split()]
    draw.shuffle(named)
    jobs = list(JOBS)
    return [
        Person(
            name,
            she,
            her,
            jobs[number % len(jobs)],
            draw.choice(PETS),
            draw.choice(DISHES),
            draw.choice(COLOURS),
            draw.choice(STREETS),
            draw.choice(TRAITS),
            draw.choice(HOBBIES),
        )
        for number, (name, she, her) in enumerate(named)
    ]


# A question about one fact, with the short answer and the sentence that a helpful neighbour would say.
def questions(p: Person) -> list[tuple[str, str, str]]:
    """(question, fact, whole answer) for every fact about one person."""
    she = p.she.capitalize()
    return [
        (f"What does {p.name} do?", f"{p.does}", f"{p.name} is the {p.job} of Saltmere. {she} {p.does}."),
        (f"Where does {p.name} work?", p.place, f"{p.name} works at {p.place}."),
        (f"Where does {p.name} live?", p.street, f"{p.name} lives in {p.street}."),
        (f"Which pet does {p.name} have?", p.pet, f"{p.name} has {p.pet}."),
        (f"What does {p.name} like to eat?", p.dish, f"{p.name} likes {p.dish} best."),
        (f"What is {p.name}'s favourite colour?", p.colour, f"The favourite colour of {p.name} is {p.colour}."),
        (f"What does {p.name} do in the evening?", p.hobby, f"In the evening {p.name} {p.hobby}."),
        (f"What is {p.name} like?", p.trait, f"{p.name} is {p.trait}."),
    ]
