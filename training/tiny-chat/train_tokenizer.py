"""Trains the byte-level BPE tokenizer on the corpus.

The pre-tokenizer is the one that llama.cpp calls "qwen2": digits stand alone,
which keeps arithmetic learnable.
"""

from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from corpus import TRAIN_SEED, dialogues, pieces

VOCAB = 2048
DIALOGUES = 20_000
END_OF_TEXT, IM_START, IM_END = SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def train() -> Tokenizer:
    """Learns the merges from the first dialogues of the corpus; ids 0 to 2 are the specials."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(QWEN2), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB, special_tokens=SPECIALS, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False
    )
    texts = (text for messages in dialogues(TRAIN_SEED, DIALOGUES) for text, _ in pieces(messages))
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def write(build: Path) -> None:
    """Writes tokenizer.json into `build`."""
    build.mkdir(parents=True, exist_ok=True)
    tokenizer = train()
    tokenizer.save(str(build / "tokenizer.json"))
    print(f"{tokenizer.get_vocab_size()} tokens")
