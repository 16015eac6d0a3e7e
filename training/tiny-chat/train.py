"""Trains the model on the corpus.

Two CPU threads, bfloat16 matrix products where the CPU has them, float32 weights.
"""

import json
import math
import random
import time
from collections import deque
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor

from batching import IGNORED, batches
from corpus import TRAIN_SEED, VALIDATION_SEED, dialogues
from model import Config, TinyChat

THREADS = 2
BATCH_TOKENS = 2048
DIALOGUES_PER_STEP = 20
PEAK_RATE, FLOOR_RATE, WARMUP = 2e-3, 2e-5, 60
REPORT_EVERY, SAVE_EVERY = 100, 500


def rate(step: int, steps: int) -> float:
    """Linear warm-up, then a cosine down to the floor."""
    if step < WARMUP:
        return PEAK_RATE * (step + 1) / WARMUP
    progress = (step - WARMUP) / max(1, steps - WARMUP)
    return FLOOR_RATE + 0.5 * (PEAK_RATE - FLOOR_RATE) * (1 + math.cos(math.pi * progress))


def answer_loss(model: TinyChat, ids: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy, in nats a token, over the learned targets of a batch."""
    learned = targets != IGNORED
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model.logits(model(ids)[learned])
    return F.cross_entropy(logits.float(), targets[learned])


def optimizer_for(model: TinyChat) -> torch.optim.AdamW:
    """AdamW that decays matrices and leaves norms alone."""
    matrices = [p for p in model.parameters() if p.dim() == 2]
    gains = [p for p in model.parameters() if p.dim() == 1]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": gains, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, betas=(0.9, 0.95), fused=True)


def train(build: Path, steps: int) -> None:
    """Reads tokenizer.json of `build`, trains for about `steps` steps, writes model.pt and report.json there."""
    torch.set_num_threads(THREADS)
    torch.manual_seed(TRAIN_SEED)
    rng = random.Random(TRAIN_SEED)
    tokenizer = Tokenizer.from_file(str(build / "tokenizer.json"))
    model = TinyChat(Config())
    optimizer = optimizer_for(model)
    context = model.config.context
    data = batches(tokenizer, dialogues(TRAIN_SEED, steps * DIALOGUES_PER_STEP), BATCH_TOKENS, context, rng)
    validation = batches(tokenizer, dialogues(VALIDATION_SEED, 1000), BATCH_TOKENS, context, rng)
    steps, tokens = len(data), sum(ids.numel() for ids, _ in data)
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{parameters} parameters, {steps} steps, {tokens} tokens", flush=True)

    started, recent = time.monotonic(), deque(maxlen=REPORT_EVERY)
    for step, batch in enumerate(data, 1):
        for group in optimizer.param_groups:
            group["lr"] = rate(step - 1, steps)
        loss = answer_loss(model, *batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        recent.append(loss.item())
        if step % REPORT_EVERY == 0:
            print(f"step {step} loss {sum(recent) / len(recent):.4f} seconds {time.monotonic() - started:.0f}", flush=True)
        if step % SAVE_EVERY == 0 or step == steps:
            torch.save(model.state_dict(), build / "model.pt")

    seconds = time.monotonic() - started
    with torch.no_grad():
        validation_loss = sum(answer_loss(model, *batch).item() for batch in validation) / len(validation)
    report = {
        "parameters": parameters, "steps": steps, "tokens": tokens, "seconds": round(seconds), "cpu_seconds": round(time.process_time()),
        "train_loss": round(sum(recent) / len(recent), 4), "validation_loss": round(validation_loss, 4),
    }
    (build / "report.json").write_text(json.dumps(report))
    print(json.dumps(report))
