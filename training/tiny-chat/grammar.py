"""A tiny template language: `a|b` is a choice, `[a|b]` a nested one, `{name}` a slot.

Alternatives may be empty. Slots are filled after every choice is made, so a
slot's value may hold brackets and bars.
"""

import random
from functools import lru_cache
from typing import NamedTuple


class Exchange(NamedTuple):
    """One user message and its answer, in a full and in a brief wording."""

    user: str
    full: str
    brief: str


Alternatives = list[list["str | Alternatives"]]


@lru_cache(maxsize=None)
def parse(template: str) -> Alternatives:
    """Turns a template into alternatives of literal pieces and nested alternatives."""
    stack: list[Alternatives] = [[[]]]
    literal = ""
    for char in template + "\0":
        if char not in "[|]\0":
            literal += char
            continue
        if literal:
            stack[-1][-1].append(literal)
            literal = ""
        if char == "[":
            stack.append([[]])
        elif char == "|":
            stack[-1].append([])
        elif char == "]":
            nested = stack.pop()
            stack[-1][-1].append(nested)
    if len(stack) != 1:
        raise ValueError(f"unbalanced brackets: {template}")
    return stack[0]


def read(rng: random.Random, alternatives: Alternatives) -> str:
    """Makes every choice, outermost first."""
    return "".join(piece if isinstance(piece, str) else read(rng, piece) for piece in rng.choice(alternatives))


def expand(rng: random.Random, template: str, **slots: object) -> str:
    """Returns one random reading of `template` with its slots filled."""
    text = read(rng, parse(template))
    return (text.format(**slots) if slots else text).strip()


def exchange(rng: random.Random, user: str, full: str, brief: str | None = None, **slots: object) -> Exchange:
    """Expands the three templates with the same slots; `brief` defaults to the full answer."""
    answer = expand(rng, full, **slots)
    return Exchange(expand(rng, user, **slots), answer, answer if brief is None else expand(rng, brief, **slots))


def a(noun: str) -> str:
    """Puts the indefinite article before `noun`."""
    return f"an {noun}" if noun[0].lower() in "aeiou" else f"a {noun}"


def cap(text: str) -> str:
    """Makes the first letter a capital."""
    return text[:1].upper() + text[1:]


def listing(words: list[str]) -> str:
    """Joins words as in "a, b and c"."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
