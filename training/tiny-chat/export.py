"""Writes the trained model as GGUF.

Architecture `llama`, whose rotary pairs are adjacent as ours are, so no weight
is permuted. Matrices are Q8_0, norms F32; the output matrix is the embedding.
"""

import hashlib
import json
from pathlib import Path

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as Quantization

from model import Config
from train_tokenizer import END_OF_TEXT, IM_END, SPECIALS

CHAT_TEMPLATE = """\
{%- for message in messages -%}
{{- '<|im_start|>' + message['role'] + '\\n' -}}
{%- if message['content'] is string -%}
{{- message['content'] -}}
{%- elif message['content'] -%}
{%- for part in message['content'] if part['text'] is defined -%}{{- part['text'] -}}{%- endfor -%}
{%- endif -%}
{{- '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}
"""

BLOCK_NAMES = {
    "attn_norm": "attn_norm", "attn.q": "attn_q", "attn.k": "attn_k", "attn.v": "attn_v", "attn.out": "attn_output",
    "ffn_norm": "ffn_norm", "gate": "ffn_gate", "up": "ffn_up", "down": "ffn_down",
}


def tensor_name(name: str) -> str:
    """Our parameter name as llama.cpp's tensor name."""
    if not name.startswith("blocks."):
        return {"embedding.weight": "token_embd.weight", "norm.weight": "output_norm.weight"}[name]
    _, layer, rest = name.split(".", 2)
    return f"blk.{layer}.{BLOCK_NAMES[rest.removesuffix('.weight')]}.weight"


def add_metadata(writer: gguf.GGUFWriter, config: Config) -> None:
    """Name, licence and the hyperparameters that llama.cpp checks the tensors against."""
    writer.add_name("tiny-chat")
    writer.add_license("apache-2.0")
    writer.add_description("A very small English chat model that comes with loqui; it answers simple questions and declines the rest.")
    writer.add_languages(["en"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_vocab_size(config.vocab)
    writer.add_context_length(config.context)
    writer.add_embedding_length(config.dim)
    writer.add_block_count(config.layers)
    writer.add_feed_forward_length(config.ffn)
    writer.add_head_count(config.heads)
    writer.add_head_count_kv(config.kv_heads)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_base)
    writer.add_layer_norm_rms_eps(config.norm_eps)


def add_tokenizer(writer: gguf.GGUFWriter, path: Path, size: int) -> None:
    """Copies vocabulary and merges; refuses a vocabulary with gaps or repeated texts, which abort llama.cpp."""
    model = json.loads(path.read_text())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].__getitem__)
    if len(set(tokens)) != size or sorted(model["vocab"].values()) != list(range(size)):
        raise ValueError(f"the vocabulary must hold {size} different tokens without gaps")
    types = [gguf.TokenType.CONTROL if token in SPECIALS else gguf.TokenType.NORMAL for token in tokens]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges([" ".join(pair) for pair in model["merges"]])
    writer.add_bos_token_id(tokens.index(END_OF_TEXT))
    writer.add_eos_token_id(tokens.index(IM_END))
    writer.add_pad_token_id(tokens.index(END_OF_TEXT))
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)


def export(build: Path, out: Path) -> None:
    """Writes `out` from the tokenizer and the weights in `build`."""
    config = Config()
    writer = gguf.GGUFWriter(out, "llama")
    add_metadata(writer, config)
    add_tokenizer(writer, build / "tokenizer.json", config.vocab)
    for name, tensor in torch.load(build / "model.pt").items():
        values = tensor.float().numpy()
        if values.ndim == 1:
            writer.add_tensor(tensor_name(name), values)
        else:
            packed = gguf.quants.quantize(np.ascontiguousarray(values), Quantization.Q8_0)
            writer.add_tensor(tensor_name(name), packed, raw_dtype=Quantization.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    data = out.read_bytes()
    print(f"{out.name}: {len(data)} bytes, sha256 {hashlib.sha256(data).hexdigest()}")
