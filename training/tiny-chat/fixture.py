"""Writes what PyTorch computes, for verify.mjs to compare.

The weights make the round trip through Q8_0 first, so what remains between the
two is llama.cpp's rounding of activations.
"""

import json
from pathlib import Path

import gguf
import torch
from gguf import GGMLQuantizationType as Quantization
from tokenizers import Tokenizer

from corpus import VALIDATION_SEED, dialogues, pieces
from model import Config, TinyChat

TEXTS = [
    "", " ", "Hello!", "  two  spaces\t\ttabs\n\n\nlines \r\n\r\n end ", "It's I'LL we've THEY'RE don't x'd 'tis",
    "0123456789 3.14159 1,000,000 ½ ² ٣٤ Ⅷ", "def add(a, b):\n    return a + b  # sum\n", "if (x <= 10 && !y) { z[i] ??= `${w}`; }",
    "naïve café façade Brasília Ångström ﬁn", "e\u0301 and é, n\u0303 and ñ", "Привет, как дела? Ελληνικά", "你好，世界。こんにちは 세계",
    "مرحبا بالعالم שלום", "नमस्ते दुनिया ภาษาไทย", "🙂👩‍👩‍👧‍👦🏳️‍🌈❤️🔥 x🎉y", "\u200b\u00a0\u3000\ufeff|zero width", "𝒳𐍈\U0001F9FF",
    "{\"a\": [1, 2, {\"b\": null}], \"c\": \"\\u00e9\\n\"}", "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
    "<|im_sta rt|> <|endoftext|><|im_end|> <|other|>", "a" * 200, "....!!!???---===", "\n\nHello\n", "\x00\x01\x7f control",
]
PROMPTS = [
    "Hello!", "What is the capital of France?", "What is loqui?", "Tell me a story about a fox.", "How do I make tea?", "What is 3 + 4?",
    "Explain the French Revolution.", "Привет 🙂",
]
GREEDY_TOKENS, TOP = 48, 8


def quantized_model(build: Path) -> TinyChat:
    """The model with its matrices as Q8_0 stores them, in float32."""
    state = torch.load(build / "model.pt")
    for name, tensor in state.items():
        if tensor.dim() == 2:
            packed = gguf.quants.quantize(tensor.numpy(), Quantization.Q8_0)
            state[name] = torch.from_numpy(gguf.quants.dequantize(packed, Quantization.Q8_0))
    model = TinyChat(Config())
    model.load_state_dict(state)
    return model.eval()


def continuation(model: TinyChat, ids: list[int], end: int) -> dict[str, object]:
    """Greedy ids up to and with `end`, and the top logits behind the prompt as [id, logit]."""
    ids, made, top = list(ids), [], []
    while len(made) < GREEDY_TOKENS and end not in made:
        logits = model.logits(model(torch.tensor([ids]))[0, -1])
        if not made:
            best = logits.topk(TOP)
            top = [[i, round(v, 4)] for i, v in zip(best.indices.tolist(), best.values.tolist(), strict=True)]
        made.append(int(logits.argmax()))
        ids.append(made[-1])
    return {"greedy": made, "top": top}


@torch.no_grad()
def fixture(build: Path) -> dict[str, object]:
    """Texts with their token ids, and prompts with their greedy continuations."""
    tokenizer = Tokenizer.from_file(str(build / "tokenizer.json"))
    model = quantized_model(build)
    corpus = ["".join(text for text, _ in pieces(messages)) for messages in dialogues(VALIDATION_SEED, 60)]
    continuations = []
    for prompt in PROMPTS:
        text = f"<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n"
        ids = tokenizer.encode(text).ids
        continuations.append({"text": text, "ids": ids, **continuation(model, ids, tokenizer.token_to_id("<|im_end|>"))})
    return {"texts": [{"text": text, "ids": tokenizer.encode(text).ids} for text in TEXTS + corpus], "continuations": continuations}


def write(build: Path, out: Path) -> None:
    """Writes the fixture as JSON."""
    out.write_text(json.dumps(fixture(build), separators=(",", ":")) + "\n")
