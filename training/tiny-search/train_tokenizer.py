"""WordPiece as bert-base-uncased has it: the words of our lists whole, their endings and rarer words in pieces."""

import collections
import re
import sys
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from corpus import CONTENT, PASSAGES, Corpus
from words import FUNCTION, IRREGULAR

HERE = Path(__file__).parent
SIZE = 8192
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
#: Tokens that the positions have room for, the special ones included.
CONTEXT = 512


def plain(model):
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def own_texts():
    """English of our own: this model's lists, the texts of tiny-chat's training, the pages of the repository."""
    root = HERE.parent.parent
    for path in sorted([*root.glob("*.md"), *root.glob("docs/*.md"), *root.glob("training/tiny-chat/*.py")]):
        yield re.sub(r"[^A-Za-z' ]+", " ", path.read_text())
    for questions, answers in PASSAGES:
        yield from questions + answers
    corpus = Corpus(0)
    for _ in range(20_000):
        yield corpus.say(corpus.meaning())


def vocabulary():
    """All characters that we expect, then whole words, then trained pieces."""
    letters = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
    letters += list("äöüßéèêàçñíóúáøåæ€£°–—…„“”’‘·×")
    vocabulary = [*SPECIAL, *letters, *(f"##{letter}" for letter in letters if letter.isalnum())]
    vocabulary += [f"##{ending}" for ending in ["s", "es", "ed", "ing", "er", "est", "ly", "y", "ies", "ion", "ment", "ness", "able", "less", "ful"]]
    vocabulary += [str(number) for number in range(10, 100)]
    counts = collections.Counter(word for questions, answers in PASSAGES for text in questions + answers
                                 for word in re.findall(r"[a-z]+", text.lower()))
    words = [word for entry in [*FUNCTION, *CONTENT, *" ".join(IRREGULAR.values()).split()] for word in re.findall(r"[a-z]+", entry)]
    vocabulary += words + sorted(word for word, count in counts.items() if len(word) > 2)
    vocabulary = list(dict.fromkeys(vocabulary))
    trainer = trainers.WordPieceTrainer(vocab_size=SIZE, special_tokens=SPECIAL, show_progress=False)
    trained = plain(models.WordPiece(unk_token="[UNK]"))
    trained.train_from_iterator(own_texts(), trainer)
    known = set(vocabulary)
    pieces = [token for token, _ in sorted(trained.get_vocab().items(), key=lambda entry: entry[1]) if token not in known and token.isascii()]
    return {token: index for index, token in enumerate([*vocabulary, *pieces][:SIZE])}


def write(folder):
    folder.mkdir(parents=True, exist_ok=True)
    tokens = vocabulary()
    tokenizer = plain(models.WordPiece(tokens, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(name, tokens[name]) for name in ("[CLS]", "[SEP]")],
    )
    tokenizer.decoder = decoders.WordPiece()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=CONTEXT, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]",
        sep_token="[SEP]", mask_token="[MASK]", model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    ).save_pretrained(folder)
    print(f"{len(tokens)} tokens")


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "build" / "tokenizer")
