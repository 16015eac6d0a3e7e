"""Makes the rerankers and references that test/engines/onnx/pairs.test.ts compares with.

As make.py, with the same requirements, all or those that are named:

    python test/engines/onnx/reference/pairs.py [name ...]

It writes test/engines/onnx/fixtures/rerankers/: `pairs.json`, and a folder for
each checkpoint with `reference.json`: of all pairs the token ids as
sentence-transformers' CrossEncoder gives them to the model (the longer text cut
first), how many are of the first type, the raw scores and those that come out of
it; and the ids of some pairs cut at either end to lengths of all kinds.
"""

import json
import shutil
import sys

import torch
from make import CONTEXT, HIDDEN, OUT, byte_bpe, qwen_bpe, randomize, texts, unigram, word_piece
from sentence_transformers import CrossEncoder
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    ModernBertConfig,
    ModernBertForSequenceClassification,
    MPNetConfig,
    MPNetForSequenceClassification,
    Qwen3Config,
    Qwen3ForSequenceClassification,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
)

RERANKERS = OUT / "rerankers"


def pairs():
    """Each text with another, a query with some, and some with themselves."""
    every = texts()
    made = [(text, every[(7 * index + 3) % len(every)]) for index, text in enumerate(every)]
    return made + [("Hello, world!", text) for text in every[:40]] + [(text, text) for text in every[::20]]


def checkpoints(folder):
    """Name, model, tokenizer, how the model is saved, and whether sentence-transformers saves it."""
    common = dict(num_hidden_layers=2, num_attention_heads=4, hidden_size=HIDDEN, intermediate_size=24)
    tokens = word_piece()
    # The class of published models, which tells the types of tokens.
    tokens.save_pretrained(folder)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, "tokenizer_class": "BertTokenizer"}))
    typed = AutoTokenizer.from_pretrained(folder)
    shutil.rmtree(folder)
    assert "token_type_ids" in typed("a", "b")
    shape = BertConfig(vocab_size=len(tokens), max_position_embeddings=CONTEXT, num_labels=1, **common)
    yield "bert", BertForSequenceClassification(shape), typed, {}, True
    shape = DistilBertConfig(vocab_size=len(tokens), max_position_embeddings=CONTEXT, dim=HIDDEN, n_layers=2,
                             n_heads=2, hidden_dim=24, num_labels=2)
    yield "distilbert", DistilBertForSequenceClassification(shape).to(torch.bfloat16), tokens, {}, False
    tokens = unigram()
    shape = XLMRobertaConfig(vocab_size=len(tokens), max_position_embeddings=CONTEXT + 2, type_vocab_size=1,
                             pad_token_id=1, bos_token_id=0, eos_token_id=2, layer_norm_eps=1e-5, num_labels=1,
                             sentence_transformers={"activation_fn": "torch.nn.modules.linear.Identity"}, **common)
    yield "xlm-roberta", XLMRobertaForSequenceClassification(shape).to(torch.float16), tokens, {}, False
    # The last token that isn't padding is read: padding is another than what ends a text.
    tokens = qwen_bpe(pad="<|im_end|>")
    shape = Qwen3Config(vocab_size=len(tokens), max_position_embeddings=CONTEXT, num_key_value_heads=2, head_dim=8,
                        num_labels=1, pad_token_id=tokens.pad_token_id, **common)
    yield "qwen3-classifier", Qwen3ForSequenceClassification(shape).to(torch.bfloat16), tokens, {}, False
    tokens = word_piece("<pad>", "[UNK]", "<s>", "</s>", "<mask>")
    shape = MPNetConfig(vocab_size=len(tokens), max_position_embeddings=CONTEXT + 2, num_labels=1, **common)
    yield "mpnet", MPNetForSequenceClassification(shape), tokens, {}, True
    tokens = byte_bpe()
    # As gte-reranker-modernbert-base, whose classifier reads the mean of the tokens.
    shape = ModernBertConfig(vocab_size=len(tokens), max_position_embeddings=CONTEXT, num_hidden_layers=4,
                             num_attention_heads=2, hidden_size=HIDDEN, intermediate_size=24, local_attention=8,
                             pad_token_id=3, cls_token_id=1, sep_token_id=2, bos_token_id=1, eos_token_id=2,
                             classifier_pooling="mean", num_labels=1)
    yield "modernbert", ModernBertForSequenceClassification(shape).to(torch.bfloat16), tokens, {}, False


def main():
    torch.set_num_threads(1)
    RERANKERS.mkdir(parents=True, exist_ok=True)
    every = pairs()
    (RERANKERS / "pairs.json").write_text(json.dumps(every, ensure_ascii=True, indent=0) + "\n")
    for seed, (name, model, tokenizer, saving, sentences) in enumerate(checkpoints(RERANKERS / "made")):
        folder = RERANKERS / name
        if len(sys.argv) > 1 and name not in sys.argv[1:]:
            continue
        shutil.rmtree(folder, ignore_errors=True)
        randomize(model, 100 + seed)
        with torch.no_grad():
            # Scores as far apart as those of trained models.
            for part, parameter in model.named_parameters():
                if part in ("classifier.weight", "classifier.out_proj.weight", "score.weight"):
                    parameter.mul_(12)
        model.eval().save_pretrained(folder, **saving)
        tokenizer.save_pretrained(folder)
        encoder = CrossEncoder(str(folder), device="cpu", model_kwargs={"dtype": torch.float32})
        if sentences:
            shutil.rmtree(folder)
            encoder.save(str(folder))
            (folder / "README.md").unlink()
        batch = encoder.preprocess(every)
        masks = batch["attention_mask"].bool()
        types = batch.get("token_type_ids", torch.zeros_like(batch["input_ids"]))
        labels = model.config.num_labels
        raw = encoder.predict(every, activation_fn=torch.nn.Identity(), convert_to_tensor=True).double()
        scores = encoder.predict(every, apply_softmax=labels > 1, convert_to_tensor=True).double()
        cuts = []
        for index in range(0, len(every), 3):
            side, limit = ("left", "right")[index % 2], 5 + index % 37
            tokenizer.truncation_side = side
            # As a list: alone, a text with an empty one isn't taken for a pair.
            ids = tokenizer([every[index]], truncation="longest_first", max_length=limit)["input_ids"][0]
            cuts.append({"index": index, "side": side, "limit": limit, "ids": ids})
        reference = {
            "ids": [row[mask].tolist() for row, mask in zip(batch["input_ids"], masks)],
            "first": [int((row[mask] == 0).sum()) for row, mask in zip(types, masks)],
            "raw": (raw if labels == 1 else raw[:, 1] - raw[:, 0]).tolist(),
            "scores": (scores if labels == 1 else scores[:, 1]).tolist(),
            "cuts": cuts,
        }
        assert max(map(len, reference["ids"])) == CONTEXT
        (folder / "reference.json").write_text(json.dumps(reference) + "\n")


if __name__ == "__main__":
    main()
