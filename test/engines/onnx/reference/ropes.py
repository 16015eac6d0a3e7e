"""Makes references of checkpoints whose positions are rotated otherwise.

From the root of the repository, in an environment as make.py wants it, after that:

    python test/engines/onnx/reference/ropes.py

It writes test/engines/onnx/fixtures/ropes.json: for the checkpoints that make.py
has made, with the members of `config` in their config.json changed, the vectors of
every `step`th text, little-endian float32 in base64. Texts have up to 40 tokens,
more than the positions that the scaled ropes say the model was trained with.
"""

import base64
import json
import shutil
import tempfile
from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
# Turns that leave some of a head's four pairs of numbers on either side of the ramp, and some on it.
YARN = {"rope_type": "yarn", "rope_theta": 100.0, "factor": 4.0, "original_max_position_embeddings": 20,
        "beta_fast": 1.5, "beta_slow": 0.2}
LLAMA3 = {"rope_type": "llama3", "rope_theta": 100.0, "factor": 8.0, "original_max_position_embeddings": 39,
          "low_freq_factor": 1.0, "high_freq_factor": 4.0}
LOCAL = {"rope_type": "default", "rope_theta": 100.0}
CARD = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 10}


def kinds(full, sliding=LOCAL):
    return {"rope_parameters": {"full_attention": full, "sliding_attention": sliding}}


def old(scaling, **thetas):
    return {"rope_parameters": None, "rope_scaling": scaling, **thetas}


CASES = [
    # As Qwen3's cards say it, with the theta beside it.
    ("qwen3", "as on the card", 1, old(CARD, rope_theta=1_000_000.0)),
    ("qwen3", "yarn", 4, {"rope_parameters": YARN}),
    ("qwen3", "yarn, not truncated", 4, {"rope_parameters": YARN | {"truncate": False}}),
    ("qwen3", "yarn, attention_factor", 4, {"rope_parameters": YARN | {"attention_factor": 0.7}}),
    ("qwen3", "yarn, mscale", 4, {"rope_parameters": YARN | {"mscale": 2.0, "mscale_all_dim": 0.5}}),
    ("qwen3", "yarn, factor of the positions", 4, {"rope_parameters": YARN | {"factor": None}}),
    ("qwen3", "yarn, no ramp", 4, {"rope_parameters": YARN | {"beta_fast": 0.01, "beta_slow": 0.01}}),
    ("qwen3", "llama3", 4, {"rope_parameters": LLAMA3}),
    ("qwen3", "linear", 4, {"rope_parameters": {"rope_type": "linear", "rope_theta": 100.0, "factor": 4.0}}),
    ("gemma3", "yarn in full layers", 1, kinds(YARN)),
    ("gemma3", "llama3 in windows", 4, kinds(LOCAL, LLAMA3)),
    ("modernbert", "yarn in full layers", 1, kinds(YARN)),
    ("modernbert", "yarn in all", 4, old(CARD, global_rope_theta=1000.0, local_rope_theta=100.0)),
]


def vectors_of(name, changes, texts):
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(FIXTURES / name, folder, dirs_exist_ok=True)
        path = Path(folder) / "config.json"
        config = json.loads(path.read_text()) | changes
        path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
        encoder = Transformer(folder, model_kwargs={"dtype": torch.float32})
        mode = "lasttoken" if name == "qwen3" else "mean"
        model = SentenceTransformer(modules=[encoder, Pooling(16, mode)], device="cpu")
        return model.encode(texts, convert_to_tensor=True)


def main():
    torch.set_num_threads(1)
    texts = json.loads((FIXTURES / "texts.json").read_text())
    made = []
    for name, case, step, config in CASES:
        vectors = vectors_of(name, config, texts[::step]).to(torch.float32).numpy().astype("<f4")
        encoded = base64.b64encode(vectors.tobytes()).decode()
        made.append({"checkpoint": name, "case": case, "config": config, "step": step, "vectors": encoded})
    (FIXTURES / "ropes.json").write_text("[\n" + ",\n".join(map(json.dumps, made)) + "\n]\n")


main()
