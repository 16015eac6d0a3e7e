"""Trains the model on the corpus.

Two CPU threads, bfloat16 matrix products where the CPU has them, float32 weights.
"""

import json
import math
import random
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor

from corpus import TRAIN_SEED, VALIDATION_SEED, dialogues
from model import Config, TinyChat
from packing import batches

THREADS = 2
BATCH_TOKENS = 4096
DIALOGUES_PER_STEP = 45
PEAK_RATE, FLOOR_RATE, WARMUP = 2.5e-3, 5e-5, 60


def rate(step: int, steps: int) -> float:
    """Linear warm-up, then a cosine down to the floor."""
    if step < WARMUP:
        return PEAK_RATE * (step + 1) / WARMUP
    progress = (step - WARMUP) / max(1, steps - WARMUP)
    return FLOOR_RATE + 0.5 * (PEAK_RATE - FLOOR_RATE) * (1 + math.cos(math.pi * progress))


def answer_loss(model: TinyChat, ids: Tensor, learn: Tensor) -> Tensor:
    """Mean cross-entropy, in nats a token, over the learned targets of a batch."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        hidden = model(ids[:, :-1])
        logits = model.logits(hidden[learn[:, 1:]])
    return F.cross_entropy(logits.float(), ids[:, 1:][learn[:, 1:]])


def train(build: Path, steps: int) -> None:
    """Reads tokenizer.json of `build`, trains for about `steps` steps, writes model.pt and report.json there."""
    torch.set_num_threads(THREADS)
    torch.manual_seed(TRAIN_SEED)
    rng = random.Random(TRAIN_SEED)
    tokenizer = Tokenizer.from_file(str(build / "tokenizer.json"))
    data = batches(tokenizer, dialogues(TRAIN_SEED, steps * DIALOGUES_PER_STEP), BATCH_TOKENS, rng)
    validation = batches(tokenizer, dialogues(VALIDATION_SEED, 1000), BATCH_TOKENS, rng)
    steps = len(data)

    model = TinyChat(Config())
    matrices = [p for p in model.parameters() if p.dim() == 2]
    gains = [p for p in model.parameters() if p.dim() == 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": gains, "weight_decay": 0.0}], betas=(0.9, 0.95), fused=True
    )
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{parameters} parameters, {steps} steps of {BATCH_TOKENS} tokens", flush=True)

    started, recent = time.monotonic(), []
    for step, (ids, learn) in enumerate(data):
        for group in optimizer.param_groups:
            group["lr"] = rate(step, steps)
        loss = answer_loss(model, ids, learn)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        recent = [*recent[-49:], loss.item()]
        if step % 50 == 49:
            print(f"step {step + 1} loss {sum(recent) / len(recent):.4f} seconds {time.monotonic() - started:.0f}", flush=True)

    seconds = time.monotonic() - started
    with torch.no_grad():
        validation_loss = sum(answer_loss(model, *batch).item() for batch in validation) / len(validation)
    report = {
        "parameters": parameters, "steps": steps, "tokens": steps * BATCH_TOKENS, "seconds": round(seconds),
        "train_loss": round(sum(recent) / len(recent), 4), "validation_loss": round(validation_loss, 4),
    }
    torch.save(model.state_dict(), build / "model.pt")
    (build / "report.json").write_text(json.dumps(report))
    print(json.dumps(report))
