"""The corpus: dialogues from a seed, and their ChatML text.

`python corpus.py 20` prints twenty dialogues to look at.
"""

import random
import sys
from collections.abc import Iterator

from dialogues import Message, dialogue

TRAIN_SEED, VALIDATION_SEED = 1, 2


def dialogues(seed: int, count: int) -> Iterator[list[Message]]:
    """The first `count` dialogues of a seed: the same on every machine."""
    rng = random.Random(seed)
    for _ in range(count):
        yield dialogue(rng)


def pieces(messages: list[Message]) -> Iterator[tuple[str, bool]]:
    """ChatML text, cut where a prompt ends; each piece with whether the model learns it: answers and their ends."""
    for message in messages:
        role, content = message["role"], message["content"]
        if role == "assistant":
            yield "<|im_start|>assistant\n", False
            yield f"{content}<|im_end|>", True
            yield "\n", False
        else:
            yield f"<|im_start|>{role}\n{content}<|im_end|>\n", False


if __name__ == "__main__":
    for messages in dialogues(TRAIN_SEED, int(sys.argv[1])):
        print("".join(text for text, _ in pieces(messages)))
