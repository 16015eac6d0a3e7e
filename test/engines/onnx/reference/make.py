"""Makes the checkpoints and references that test/engines/onnx compares with.

Each checkpoint is small and random, of the real architecture, written by
sentence-transformers as it would be published. From the root of the repository,
in a Python 3.11 environment of your own, without network:

    pip install -r test/engines/onnx/reference/requirements.txt
    python test/engines/onnx/reference/make.py [NAME...]

With names it makes those checkpoints only; the trainers of tokenizers break ties
by chance, so that each time other vocabularies come out. It writes test/engines/onnx/fixtures/: `texts.json`, and a folder for each
checkpoint with `reference.json`: the token ids of all texts as
sentence-transformers gives them to the model (cut at the end), and the vectors
that come out of every one or of each `step`th, little-endian float32 in base64,
for each layout: what comes after the encoder.
"""

import base64
import json
import random
import shutil
import sys
from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    Gemma3TextConfig,
    Gemma3TextModel,
    ModernBertConfig,
    ModernBertModel,
    MPNetConfig,
    MPNetModel,
    NomicBertConfig,
    NomicBertModel,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3Model,
    XLMRobertaConfig,
    XLMRobertaModel,
)

OUT = Path(__file__).resolve().parent.parent / "fixtures"
CONTEXT = 40
HIDDEN = 16

PLAIN = """
The quick brown fox jumps over the lazy dog. How much does it cost to ship a parcel to Norway?
Vectors whose distance is the distance of meanings. She sold sea shells; he didn't buy any (at 3.50 each).
Ein Satz auf Deutsch mit Umlauten: äöü und ß. Une phrase française, déjà vue. Zażółć gęślą jaźń. Привет, мир.
日本語の文章です。 你好，世界！ 中文分词 한국어 문장입니다. שלום עולם مرحبا بالعالم สวัสดีชาวโลก हिन्दी में पाठ
def embed(texts: list[str]) -> np.ndarray: return model.encode(texts) # 1,024 numbers
""".split()

SPECIAL = [
    "", " ", "\n", "\t \r\n", "a", "A", ".", "!!!", "?", "0", "[CLS]", "[SEP] [PAD] [UNK]", "<s>", "</s><pad>", "[MASK]s",
    "Hello, world!", "hello, world!", "HELLO, WORLD!", "don't", "it's  two  spaces", " leading and trailing ",
    "naïve café résumé", "nai\u0308ve cafe\u0301", "ﬁne ﬂow ½ ² Ⅷ", "ＦＵＬＬ ｗｉｄｔｈ", "İstanbul ıI", "ΑΣΟΦΟΣ Σ", "ẞ ß",
    "a𠮷b𫠠c𪛟𪛟", "日本語の文章です。", "你好，世界！", "漢字とかなとカナ", "𠮷野家 𩸽", "한국어 문장입니다", "한국어",
    "שלום עולם", "مرحبا بالعالم", "สวัสดีชาวโลก", "हिन्दी में पाठ", "Привет, мир", "Zażółć gęślą jaźń",
    "😀", "👩‍👩‍👧‍👦 family", "🇳🇴🇩🇪 flags", "👍🏽 ok ☺️", "text with 🎉 inside 🎊 it",
    "nul\u0000inside", "bell\u0007 and \u001b[31mred\u001b[0m", "\u200bzero\u200bwidth\u200d", "\ufeffbom", "soft\u00adhyphen",
    "a\u00a0b\u2003c\u3000d", "line\u2028separator\u2029paragraph", "\u202eright to left\u202c", "\ufffd replaced \ufffd",
    "e" + "\u0301" * 40, "private \ue000 use", "a_b-c/d\\e|f", "user@example.com https://example.com/?q=1&r=2#x",
    "{'json': [1, 2.5, null]}", "x" * 99, "x" * 100, "x" * 101, "x" * 300, "9" * 60, "- " * 70, "the " * 200,
    "¿Qué? ¡Sí! «oui» „ja“ ‘no’ — – …", "$1,000.00 €5 £3 ¥7 50% 20°C", "C++ C# F# .NET", "∑∫√≠≤∞ αβγ",
]


def texts():
    """Two hundred: the special ones, then words at random, from 1 to 60."""
    draw = random.Random(7)
    made = list(SPECIAL)
    while len(made) < 200:
        made.append(" ".join(draw.choices(PLAIN, k=draw.choice([1, 3, 8, 20, 30, 60]))))
    return made


def word_piece(pad="[PAD]", unk="[UNK]", cls="[CLS]", sep="[SEP]", mask="[MASK]"):
    """As bert-base-uncased; with other names as all-mpnet-base-v2."""
    tokenizer = Tokenizer(models.WordPiece(unk_token=unk, max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = [pad, unk, cls, sep, mask] if pad == "[PAD]" else [cls, pad, sep, unk, mask]
    trainer = trainers.WordPieceTrainer(vocab_size=420, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator([" ".join(PLAIN)] + SPECIAL, trainer)
    ids = {name: tokenizer.token_to_id(name) for name in special}
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{cls} $A {sep}",
        pair=f"{cls} $A {sep} $B:1 {sep}:1" if pad == "[PAD]" else f"{cls} $A {sep} {sep} $B {sep}",
        special_tokens=[(cls, ids[cls]), (sep, ids[sep])],
    )
    tokenizer.decoder = decoders.WordPiece()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=CONTEXT, pad_token=pad, unk_token=unk,
        cls_token=cls, sep_token=sep, mask_token=mask,
    )


def byte_bpe():
    """As ModernBERT-base: GPT-NeoX's, with runs of spaces as tokens of their own."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    special = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]
    trainer = trainers.BpeTrainer(
        vocab_size=420, special_tokens=special, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator([" ".join(PLAIN)] * 3 + SPECIAL, trainer)
    tokenizer.add_tokens([AddedToken("    ", normalized=True), AddedToken("  ", normalized=True)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")],
    )
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=CONTEXT, pad_token="[PAD]", unk_token="[UNK]",
        cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]",
    )


def unigram():
    """As xlm-roberta-base, but for its table of characters, which alone has 300 kB: NFKC comes closest."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace("\n", " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(
        vocab_size=420, special_tokens=special, unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator([" ".join(PLAIN)] * 3 + SPECIAL, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[(name, tokenizer.token_to_id(name)) for name in ("<s>", "</s>")],
    )
    tokenizer.decoder = decoders.Metaspace()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=CONTEXT, pad_token="<pad>", unk_token="<unk>",
        bos_token="<s>", eos_token="</s>", cls_token="<s>", sep_token="</s>",
    )


def qwen_bpe(more=(), context=CONTEXT, ends=True, pad="<|endoftext|>"):
    """As Qwen3-Embedding: the end of a text is a token that the post-processor adds; without `ends` as Qwen3-Reranker."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    words = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(words), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False),
    ])
    trainer = trainers.BpeTrainer(
        vocab_size=400 + 40 * len(more), show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator([" ".join(PLAIN)] * 3 + SPECIAL + list(more), trainer)
    tokenizer.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    tokenizer.add_tokens([AddedToken("<think>", normalized=False), AddedToken("</think>", normalized=False)])
    end = "<|endoftext|>"
    around = processors.TemplateProcessing(
        single=f"$A {end}", pair=f"$A $B:1 {end}:1", special_tokens=[(end, tokenizer.token_to_id(end))]
    )
    spaces = processors.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    tokenizer.post_processor = processors.Sequence([spaces, around]) if ends else spaces
    tokenizer.decoder = decoders.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=context, pad_token=pad, eos_token="<|im_end|>", padding_side="left",
    )


def gemma_bpe():
    """As Gemma 3: SentencePiece's BPE, whose tokens of bytes stand for characters that it doesn't have."""
    trained = Tokenizer(models.BPE())
    trained.normalizer = normalizers.Replace(" ", "▁")
    trained.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    trainer = trainers.BpeTrainer(vocab_size=230, limit_alphabet=90, show_progress=False)
    trained.train_from_iterator([" ".join(PLAIN)] * 3 + SPECIAL, trainer)
    model = json.loads(trained.to_str())["model"]
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    tokens = special + [f"<0x{byte:02X}>" for byte in range(256)] + ["\n\n", "▁▁", "<start_of_turn>"]
    tokens += [token for token in sorted(model["vocab"], key=model["vocab"].get) if token not in tokens]
    tokenizer = Tokenizer(models.BPE(
        vocab={token: at for at, token in enumerate(tokens)}, merges=[tuple(pair) for pair in model["merges"]],
        unk_token="<unk>", fuse_unk=True, byte_fallback=True,
    ))
    tokenizer.normalizer = trained.normalizer
    tokenizer.pre_tokenizer = trained.pre_tokenizer
    tokenizer.add_special_tokens([*special, "<start_of_turn>"])
    tokenizer.add_tokens([AddedToken("\n\n", normalized=False), AddedToken("▁▁", normalized=False)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A <eos>", pair="<bos> $A <eos> <bos>:1 $B:1 <eos>:1",
        special_tokens=[(name, tokenizer.token_to_id(name)) for name in ("<bos>", "<eos>")],
    )
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=CONTEXT, pad_token="<pad>", unk_token="<unk>",
        bos_token="<bos>", eos_token="<eos>", mask_token="<mask>",
    )


def randomize(module, seed):
    """Weights as far apart as those of trained models: the usual start makes all vectors nearly the same."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            is_norm = name.lower().endswith("norm.weight")
            parameter.copy_(1 + 0.2 * noise if is_norm else noise * (0.5 if "embedding" in name else 0.25))


def encoders():
    common = dict(num_hidden_layers=2, num_attention_heads=4, hidden_size=HIDDEN, intermediate_size=24)
    tokens = word_piece()
    bert = BertModel(
        BertConfig(vocab_size=len(tokens), max_position_embeddings=CONTEXT + 4, **common), add_pooling_layer=False
    )
    yield "bert", bert, tokens, {}
    # In several files of bfloat16.
    distilbert = DistilBertModel(
        DistilBertConfig(vocab_size=len(tokens), max_position_embeddings=CONTEXT, dim=HIDDEN, n_layers=2, n_heads=2,
                         hidden_dim=24, activation="relu")
    )
    yield "distilbert", distilbert.to(torch.bfloat16), tokens, {"max_shard_size": "10KB"}
    tokens = unigram()
    roberta = XLMRobertaModel(
        XLMRobertaConfig(vocab_size=len(tokens), max_position_embeddings=CONTEXT + 2, type_vocab_size=1,
                         pad_token_id=1, bos_token_id=0, eos_token_id=2, layer_norm_eps=1e-5,
                         hidden_act="gelu_new", **common),
        add_pooling_layer=False,
    )
    yield "xlm-roberta", roberta.to(torch.float16), tokens, {}
    tokens = word_piece("<pad>", "[UNK]", "<s>", "</s>", "<mask>")
    mpnet = MPNetModel(
        MPNetConfig(vocab_size=len(tokens), max_position_embeddings=CONTEXT + 2, **common), add_pooling_layer=False
    )
    yield "mpnet", mpnet, tokens, {}
    tokens = byte_bpe()
    # A window that texts go beyond, and layers of both kinds.
    modernbert = ModernBertModel(
        ModernBertConfig(vocab_size=len(tokens), max_position_embeddings=CONTEXT, num_hidden_layers=4,
                         num_attention_heads=2, hidden_size=HIDDEN, intermediate_size=24, local_attention=8,
                         pad_token_id=3, cls_token_id=1, sep_token_id=2, bos_token_id=1, eos_token_id=2)
    )
    yield "modernbert", modernbert.to(torch.bfloat16), tokens, {}
    # Of the layers of decoders some see all that is before them, some a window that texts go beyond.
    common = dict(num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2, head_dim=8, hidden_size=HIDDEN,
                  intermediate_size=24, max_position_embeddings=CONTEXT)
    tokens = qwen_bpe()
    qwen3 = Qwen3Model(
        Qwen3Config(vocab_size=len(tokens) + 3, use_sliding_window=True, sliding_window=8, max_window_layers=2,
                    rope_parameters={"rope_type": "default", "rope_theta": 1_000_000.0}, **common)
    )
    yield "qwen3", qwen3.to(torch.bfloat16), tokens, {"max_shard_size": "20KB"}
    tokens = gemma_bpe()
    common |= dict(vocab_size=len(tokens), num_key_value_heads=1, sliding_window=12,
                   query_pre_attn_scalar=8, pad_token_id=0, eos_token_id=1, bos_token_id=2)
    gemma3 = Gemma3TextModel(
        Gemma3TextConfig(use_bidirectional_attention=True,
                         layer_types=["sliding_attention", "full_attention", "sliding_attention"],
                         rope_parameters={"full_attention": {"rope_type": "default", "rope_theta": 100_000.0},
                                          "sliding_attention": {"rope_type": "default", "rope_theta": 100.0}}, **common)
    )
    yield "gemma3", gemma3.to(torch.float16), tokens, {}
    yield "gemma3-causal", Gemma3TextModel(Gemma3TextConfig(sliding_window_pattern=2, **common)), tokens, {}
    # For llama.cpp alone, test/engines/llama.
    tokens = word_piece()
    nomic = NomicBertModel(
        NomicBertConfig(vocab_size=len(tokens), hidden_size=HIDDEN, num_hidden_layers=2, num_attention_heads=2,
                        intermediate_size=24, max_position_embeddings=CONTEXT,
                        rope_parameters={"rope_type": "default", "rope_theta": 1000.0}),
        add_pooling_layer=False,
    )
    yield "nomic-bert", nomic, tokens, {}


def config_of_old(name):
    """What configurations had until transformers 5, where they are to be written so."""
    if name == "gemma3-causal":
        return {"rope_theta": 100_000.0, "rope_local_base_freq": 100.0, "sliding_window_pattern": 2,
                "rope_scaling": {"rope_type": "linear", "factor": 8.0}, "rope_parameters": None, "layer_types": None}
    return {}


def layouts(name):
    """What comes after the encoder, by names that say it."""
    if name == "bert":
        for mode in Pooling.POOLING_MODES:
            yield mode, [Pooling(HIDDEN, mode)]
        yield "joined", [Pooling(HIDDEN, ("cls", "max", "mean"))]
        dense = Dense(HIDDEN, 12, activation_function=torch.nn.Tanh())
        randomize(dense, 11)
        second = Dense(12, 8, bias=False, activation_function=torch.nn.Identity())
        randomize(second, 12)
        yield "dense", [Pooling(HIDDEN, "mean"), dense, Normalize(), second]
    elif name == "qwen3":
        yield "lasttoken", [Pooling(HIDDEN, "lasttoken"), Normalize()]
    elif name == "gemma3":
        wide = Dense(HIDDEN, 24, bias=False, activation_function=torch.nn.Identity())
        randomize(wide, 21)
        narrow = Dense(24, HIDDEN, bias=False, activation_function=torch.nn.Identity())
        randomize(narrow, 22)
        yield "mean", [Pooling(HIDDEN, "mean"), wide, narrow, Normalize()]
    else:
        yield "mean", [Pooling(HIDDEN, "mean"), Normalize()]


def base64_of(vectors):
    return base64.b64encode(vectors.to(torch.float32).numpy().astype("<f4").tobytes()).decode()


def main():
    torch.set_num_threads(1)
    OUT.mkdir(parents=True, exist_ok=True)
    every = texts()
    (OUT / "texts.json").write_text(json.dumps(every, ensure_ascii=True, indent=0) + "\n")
    for seed, (name, model, tokenizer, saving) in enumerate(encoders()):
        folder = OUT / name
        if len(sys.argv) > 1 and name not in sys.argv[1:]:
            continue
        shutil.rmtree(folder, ignore_errors=True)
        randomize(model, seed)
        model.eval().save_pretrained(folder, **saving)
        tokenizer.save_pretrained(folder)
        old = config_of_old(name)
        if old:
            config = json.loads((folder / "config.json").read_text()) | old
            config = {key: value for key, value in config.items() if value is not None}
            (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
        encoder = Transformer(str(folder), model_kwargs={"dtype": torch.float32})
        batch = encoder.preprocess(every)
        ids = [row[mask.bool()].tolist() for row, mask in zip(batch["input_ids"], batch["attention_mask"])]
        assert max(map(len, ids)) == CONTEXT
        reference = {"ids": ids, "layouts": {}}
        for layout, modules in layouts(name):
            sentences = SentenceTransformer(modules=[encoder, *modules], device="cpu")
            # A Normalize at the end is left out: loqui leaves it to the request.
            bare = SentenceTransformer(
                modules=[encoder, *(modules[:-1] if isinstance(modules[-1], Normalize) else modules)], device="cpu"
            )
            # All texts where it is about the encoder, a part of them where about what comes after.
            step = 4 if name == "bert" and layout != "mean" else 1
            vectors = bare.encode(every[::step], convert_to_tensor=True)
            reference["layouts"][layout] = {"step": step, "width": vectors.shape[1], "vectors": base64_of(vectors)}
            saved = OUT / "saved"
            sentences.save(str(saved), create_model_card=False)
            # The encoder's files are there already.
            target = folder / "layouts" / layout
            target.mkdir(parents=True)
            for path in saved.iterdir():
                if path.is_dir() or path.name in ("modules.json", "config_sentence_transformers.json"):
                    (shutil.copytree if path.is_dir() else shutil.copy)(path, target / path.name)
            shutil.copy(saved / "sentence_bert_config.json", target)
            shutil.rmtree(saved)
        (folder / "reference.json").write_text(json.dumps(reference) + "\n")


if __name__ == "__main__":
    main()
