"""Dialogues into batches of rows of similar length, one dialogue a row.

Nothing is packed behind anything else: a row's answers then depend on its own
dialogue only, which a small model learns much sooner. Padding stands at the end,
where causal attention never looks at it.
"""

import random
from collections.abc import Iterable

import torch
from tokenizers import Tokenizer
from torch import Tensor

from corpus import pieces
from dialogues import Message

PADDING_ID = 0
IGNORED = -100

Row = tuple[list[int], list[int]]


def encode(tokenizer: Tokenizer, messages: list[Message]) -> Row:
    """Ids of a dialogue, and the target behind each: the next id where it is learned, IGNORED elsewhere."""
    ids, targets = [], []
    for text, learned in pieces(messages):
        piece = tokenizer.encode(text).ids
        ids += piece
        targets += piece if learned else [IGNORED] * len(piece)
    return ids[:-1], targets[1:]


def pad(rows: list[Row]) -> tuple[Tensor, Tensor]:
    """Ids and targets, both [rows, longest row]."""
    length = max(len(ids) for ids, _ in rows)
    ids = torch.tensor([ids + [PADDING_ID] * (length - len(ids)) for ids, _ in rows])
    targets = torch.tensor([targets + [IGNORED] * (length - len(targets)) for _, targets in rows])
    return ids, targets


def batches(tokenizer: Tokenizer, source: Iterable[list[Message]], tokens: int, context: int, rng: random.Random) -> list[tuple[Tensor, Tensor]]:
    """Shuffled batches of at most `tokens` tokens with padding; dialogues longer than `context` are left out."""
    rows = [row for messages in source if len((row := encode(tokenizer, messages))[0]) <= context]
    rows.sort(key=lambda row: len(row[0]))
    made, held = [], []
    for row in rows:
        if held and len(row[0]) * (len(held) + 1) > tokens:
            made.append(pad(held))
            held = []
        held.append(row)
    made.append(pad(held))
    rng.shuffle(made)
    return made
