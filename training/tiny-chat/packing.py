"""Packs dialogues into rows of token ids: short rows for speed, long rows so that long contexts work."""

import random
from collections.abc import Iterable

import torch
from tokenizers import Tokenizer
from torch import Tensor

from corpus import pieces
from dialogues import Message

SHORT, LONG = 256, 2048
LONG_SHARE = 0.08
OPEN_ROWS = 16
END_OF_TEXT_ID = 0

Row = tuple[list[int], list[bool]]


def encode(tokenizer: Tokenizer, messages: list[Message]) -> Row:
    """Ids of a dialogue with its closing `<|endoftext|>`, and which of them are learned."""
    ids, learn = [], []
    for text, learned in pieces(messages):
        piece = tokenizer.encode(text).ids
        ids += piece
        learn += [learned] * len(piece)
    return [*ids, END_OF_TEXT_ID], [*learn, False]


class Packer:
    """Fills rows of one length with whole dialogues, first fit among a few open rows; every row begins with a dialogue."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.rows: list[Row] = []
        self.open: list[Row] = []

    def add(self, row: Row) -> None:
        for ids, learn in self.open:
            if len(ids) + len(row[0]) <= self.length + 1:
                ids += row[0]
                learn += row[1]
                return
        self.open.append(row)
        if len(self.open) > OPEN_ROWS:
            self.close(max(self.open, key=lambda held: len(held[0])))

    def close(self, row: Row) -> None:
        self.open.remove(row)
        missing = self.length + 1 - len(row[0])
        self.rows.append((row[0] + [END_OF_TEXT_ID] * missing, row[1] + [False] * missing))


def batches(tokenizer: Tokenizer, source: Iterable[list[Message]], tokens: int, rng: random.Random) -> list[tuple[Tensor, Tensor]]:
    """Shuffled batches of `tokens` tokens: ids [rows, length + 1] and the learned mask of the same shape."""
    short, long = Packer(SHORT), Packer(LONG)
    for messages in source:
        row = encode(tokenizer, messages)
        if len(row[0]) > LONG:
            continue
        (long if len(row[0]) > SHORT or rng.random() < LONG_SHARE else short).add(row)
    made = []
    for packer in (short, long):
        size = tokens // packer.length
        for start in range(0, len(packer.rows) - size + 1, size):
            ids, learn = zip(*packer.rows[start : start + size], strict=True)
            made.append((torch.tensor(ids), torch.tensor(learn)))
    rng.shuffle(made)
    return made
