"""Makes both models from nothing: tokenizer, training, export. `python make.py [SHARE]`, 0.05 for a trial."""

import sys
from pathlib import Path

import torch

import export
import train_embed
import train_rerank
import train_tokenizer

HERE = Path(__file__).parent
BUILD = HERE / "build"
MODELS = HERE.parent.parent / "models"

if __name__ == "__main__":
    torch.set_num_threads(1)
    share = float(sys.argv[1]) if len(sys.argv) > 1 else 1
    train_tokenizer.write(BUILD / "tokenizer")
    train_embed.train(BUILD / "tokenizer", BUILD / "embed", int(share * 1500), int(share * 600))
    train_rerank.train(BUILD / "embed", BUILD / "rerank", int(share * 500))
    train_rerank.refine(BUILD / "embed", BUILD / "rerank", int(share * 600))
    export.export_embed(BUILD / "embed", MODELS / "tiny-embed")
    export.export_rerank(BUILD / "rerank", MODELS / "tiny-rerank")
