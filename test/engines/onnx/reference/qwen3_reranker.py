"""Makes the reranker and reference that test/engines/onnx/causal-reranker.test.ts compares with.

As make.py, with the same requirements, and again after each change of the pairs of pairs.py:

    python test/engines/onnx/reference/qwen3_reranker.py

It writes test/engines/onnx/fixtures/rerankers/qwen3/: a random Qwen3ForCausalLM, and
`reference.json`: what Qwen3-Reranker's model card computes of pairs.json, which is the
code below: the token ids between those of the template, the logits' difference and the
score; some with an instruction of their own, and the ids of some cut to other lengths.
"""

import json
import shutil

import torch
from make import HIDDEN, PLAIN, qwen_bpe, randomize
from pairs import RERANKERS, pairs
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen3Config, Qwen3ForCausalLM

PREFIX = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct provided. "
    'Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
)
SUFFIX = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
INSTRUCTION = "Given a web search query, retrieve relevant passages that answer the query"
OTHER = "Given a line of code, find what is written about it."
LENGTH = 128


def body(instruction, query, document):
    return f"<Instruct>: {instruction}\n<Query>: {query}\n<Document>: {document}"


def main():
    torch.set_num_threads(1)
    folder = RERANKERS / "qwen3"
    shutil.rmtree(folder, ignore_errors=True)
    # Few tokens for the template, so that there is room for texts.
    words = [PREFIX, SUFFIX, body(INSTRUCTION, "", "")] * 3 + ["yes", "no"] * 3
    made = qwen_bpe(words, context=4096, ends=False)
    config = Qwen3Config(
        vocab_size=len(made) + 3, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=8,
        hidden_size=HIDDEN, intermediate_size=24, max_position_embeddings=LENGTH, tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 1_000_000.0},
    )
    random = Qwen3ForCausalLM(config)
    randomize(random, 200)
    with torch.no_grad():
        # Scores as far apart as those of trained models.
        random.lm_head.weight.mul_(4)
    random.to(torch.bfloat16).eval().save_pretrained(folder)
    made.save_pretrained(folder)

    # As the card has it, but for its names.
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    no, yes = tokenizer.convert_tokens_to_ids("no"), tokenizer.convert_tokens_to_ids("yes")
    assert None not in (no, yes)
    prefix = tokenizer.encode(PREFIX, add_special_tokens=False)
    suffix = tokenizer.encode(SUFFIX, add_special_tokens=False)

    def bodies(texts, length=LENGTH):
        return tokenizer(
            texts, padding=False, truncation="longest_first", return_attention_mask=False,
            max_length=length - len(prefix) - len(suffix),
        )["input_ids"]

    def scores(rows):
        raw, made = [], []
        for start in range(0, len(rows), 32):
            ids = [prefix + row + suffix for row in rows[start : start + 32]]
            inputs = tokenizer.pad({"input_ids": ids}, padding=True, return_tensors="pt")
            with torch.no_grad():
                logits = model(**inputs).logits[:, -1, :]
            both = torch.stack([logits[:, no], logits[:, yes]], dim=1)
            raw += (both[:, 1] - both[:, 0]).tolist()
            made += torch.nn.functional.log_softmax(both, dim=1)[:, 1].exp().tolist()
        return raw, made

    every = pairs()
    rows = bodies([body(INSTRUCTION, *pair) for pair in every])
    assert max(map(len, rows)) == LENGTH - len(prefix) - len(suffix)
    raw, made = scores(rows)
    others = bodies([body(OTHER, *pair) for pair in every[::16]])
    cuts = []
    for index in range(0, len(every), 7):
        limit = len(prefix) + len(suffix) + 1 + index % 60
        cuts.append({"index": index, "limit": limit, "ids": bodies([body(INSTRUCTION, *every[index])], limit)[0]})
    reference = {
        "prefix": prefix, "suffix": suffix, "no": no, "yes": yes, "ids": rows, "raw": raw, "scores": made, "cuts": cuts,
        "other": {"instruction": OTHER, "step": 16, "ids": others, "raw": scores(others)[0]},
    }
    (folder / "reference.json").write_text(json.dumps(reference) + "\n")


if __name__ == "__main__":
    main()
