"""Writes the checkpoints and texts of `npm run bench -- embedding`.

    PYTHON make-models.py FOLDER

Random weights of the shapes that people use, in sentence-transformers' layout:
`minilm` (all-MiniLM-L6-v2: BERT, 6 layers of 384, 30,522 pieces of WordPiece)
and `bge-m3` (XLM-RoBERTa, 24 layers of 1,024, 250,002 pieces of a unigram
model); `minilm-rerank`, the first as a cross-encoder of one label; and `wide`, a layer of 16 whose vectors a Dense module makes 1,024 wide,
to measure what is around a model. The words are of random syllables, as many letters as those of English;
a text's words are pieces of the vocabulary or two of them. `texts.json` beside
the weights has texts of 16 to 512 tokens, their logarithms evenly spread, and
how many tokens each has.
"""

import json
import math
import random
import sys
from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification, BertModel, PreTrainedTokenizerFast, XLMRobertaConfig, XLMRobertaModel

try:
    from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer
except ImportError:
    from sentence_transformers.models import Dense, Normalize, Pooling, Transformer

TEXTS = 1024
LEAST, MOST = 16, 512


def words(count):
    """So many different ones."""
    draw = random.Random(5)
    made = {}
    while len(made) < count:
        syllables = (draw.choice("bcdfghjklmnprstvwz") + draw.choice("aeiouy") for _ in range(draw.choice([1, 2, 2, 3])))
        made["".join(syllables) + draw.choice(["", "", "n", "s", "t", "r"])] = None
    return list(made)


def bert(layers, width, heads):
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = [chr(letter) for letter in range(97, 123)]
    size = 30522
    pieces = words(size - len(special) - 2 * len(letters))
    # A fifth of the pieces go on with a word, as in bert-base-uncased.
    first, later = pieces[: len(pieces) * 4 // 5], pieces[len(pieces) * 4 // 5 :]
    vocabulary = special + letters + ["##" + letter for letter in letters] + first + ["##" + piece for piece in later]
    ids = {piece: index for index, piece in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])],
    )
    tokenizer.decoder = decoders.WordPiece()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=MOST, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]",
        sep_token="[SEP]", mask_token="[MASK]",
    )
    config = BertConfig(vocab_size=size, hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads,
                        intermediate_size=4 * width, max_position_embeddings=512)
    return BertModel(config, add_pooling_layer=False), fast, "mean", first, later


def minilm_rerank():
    _, tokenizer, _, first, later = minilm()
    config = BertConfig(vocab_size=len(tokenizer), hidden_size=384, num_hidden_layers=6, num_attention_heads=12,
                        intermediate_size=1536, max_position_embeddings=512, num_labels=1)
    return BertForSequenceClassification(config), tokenizer, None, first, later


def minilm():
    return bert(layers=6, width=384, heads=12)


def wide():
    return bert(layers=1, width=16, heads=1)


def bge_m3():
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    letters = ["▁"] + [chr(letter) for letter in range(97, 123)]
    size = 250002
    pieces = words(size - len(special) - len(letters))
    first, later = pieces[: len(pieces) // 2], pieces[len(pieces) // 2 :]
    scored = [(piece, 0.0) for piece in special] + [(letter, -12.0) for letter in letters]
    scored += [("▁" + piece, -6 - math.log(2 + at)) for at, piece in enumerate(first)]
    scored += [(piece, -6.5 - math.log(2 + at)) for at, piece in enumerate(later)]
    tokenizer = Tokenizer(models.Unigram(scored, unk_id=3))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer.decoder = decoders.Metaspace()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=8192, pad_token="<pad>", unk_token="<unk>", bos_token="<s>",
        eos_token="</s>", cls_token="<s>", sep_token="</s>",
    )
    config = XLMRobertaConfig(vocab_size=size, hidden_size=1024, num_hidden_layers=24, num_attention_heads=16,
                              intermediate_size=4096, max_position_embeddings=8194, type_vocab_size=1,
                              pad_token_id=1, bos_token_id=0, eos_token_id=2, layer_norm_eps=1e-5)
    return XLMRobertaModel(config, add_pooling_layer=False), fast, "cls", first, later


def texts(tokenizer, first, later):
    """Each of a drawn number of tokens; what tokenizes into more words than drawn is cut, word by word."""
    draw = random.Random(9)
    made = []
    while len(made) < TEXTS:
        length = round(math.exp(draw.uniform(math.log(LEAST), math.log(MOST))))
        spoken = [
            draw.choice(first) + (draw.choice(later) if draw.random() < 0.2 else "") + draw.choice([""] * 9 + [","])
            for _ in range(length)
        ]
        counts = [len(tokenizer.tokenize(word)) for word in spoken]
        while sum(counts) + 2 > length:
            counts.pop()
            spoken.pop()
        text = " ".join(spoken)
        tokens = len(tokenizer(text)["input_ids"])
        if LEAST <= tokens <= MOST:
            made.append({"text": text, "tokens": tokens})
    return made


def save_sentences(name, folder, model, tokenizer, pooling):
    """In sentence-transformers' layout."""
    encoder = folder / "encoder"
    model.save_pretrained(encoder, max_shard_size="100GB")
    tokenizer.save_pretrained(encoder)
    transformer = Transformer(str(encoder))
    width = model.config.hidden_size
    # Where older releases look for the encoder: at the root.
    modules = [transformer, Pooling(width, pooling)]
    if name == "wide":
        modules.append(Dense(width, 1024, activation_function=torch.nn.Identity()))
    sentences = SentenceTransformer(modules=[*modules, Normalize()], device="cpu")
    sentences.save(str(folder), create_model_card=False)
    for path in encoder.iterdir():
        path.unlink()
    encoder.rmdir()


def main():
    out = Path(sys.argv[1])
    torch.manual_seed(3)
    for name, make in (("minilm", minilm), ("minilm-rerank", minilm_rerank), ("wide", wide), ("bge-m3", bge_m3)):
        folder = out / name
        # Written last.
        if (folder / "texts.json").exists():
            continue
        model, tokenizer, pooling, first, later = make()
        if pooling is None:
            model.eval().save_pretrained(folder)
            tokenizer.save_pretrained(folder)
        else:
            save_sentences(name, folder, model.eval(), tokenizer, pooling)
        (folder / "texts.json").write_text(json.dumps(texts(tokenizer, first, later)))
        print(folder)


main()
