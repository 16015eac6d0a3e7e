"""The models as they are published: float16, in the layouts of SentenceTransformer and CrossEncoder."""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

from transformers import PreTrainedTokenizerFast

from train_tokenizer import CONTEXT


#: Written into tokenizer_config.json by calls that cut and pad.
CUTTING = ("max_length", "stride", "truncation_side", "truncation_strategy", "pad_to_multiple_of", "pad_token_type_id", "padding_side")


def halve(path):
    """Rewrites a file of weights as float16; position numbers and other whole numbers are left out, nobody reads them."""
    tensors = {name: tensor.to(torch.float16).contiguous() for name, tensor in load_file(path).items() if tensor.is_floating_point()}
    save_file(tensors, path, metadata={"format": "pt"})


def plain_tokenizer(folder):
    """Without the lengths that the training cut and padded to."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.init_kwargs = {name: value for name, value in tokenizer.init_kwargs.items() if name not in CUTTING}
    tokenizer.save_pretrained(folder)


def tidy(folder):
    """The model card is written by hand, so what stands there stays."""
    for config in folder.rglob("config.json"):
        fields = json.loads(config.read_text())
        if "dtype" in fields:
            config.write_text(json.dumps(fields | {"dtype": "float16"}, indent=2) + "\n")
    for path in folder.rglob("*.json"):
        path.write_text(path.read_text().rstrip("\n") + "\n")


def replace(made, folder):
    """Moves all files but the card."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in made.iterdir():
        if path.name == "README.md":
            continue
        target = folder / path.name
        shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)
        shutil.move(path, target)
    shutil.rmtree(made)


def export_embed(trained: Path, folder: Path):
    plain_tokenizer(trained)
    halve(trained / "model.safetensors")
    encoder = Transformer(str(trained), max_seq_length=CONTEXT, model_kwargs={"dtype": torch.float16, "add_pooling_layer": False})
    made = trained / "published"
    SentenceTransformer(modules=[encoder, Pooling(192, "mean"), Normalize()], device="cpu").save(str(made), create_model_card=False)
    tidy(made)
    replace(made, folder)


def export_rerank(trained: Path, folder: Path):
    plain_tokenizer(trained)
    halve(trained / "model.safetensors")
    model = CrossEncoder(str(trained), device="cpu", max_length=CONTEXT, model_kwargs={"dtype": torch.float16})
    made = trained / "published"
    model.save_pretrained(str(made))
    tidy(made)
    replace(made, folder)
