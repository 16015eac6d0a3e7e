"""Trains tiny-embed: a small BERT whose mean of tokens is the vector, by contrast within batches (InfoNCE)."""

import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

import held_out
from corpus import Corpus
from train_tokenizer import CONTEXT

HERE = Path(__file__).parent
SIZE = 96
SCALE = 20.0
LEARNING_RATE = 1e-3
WORD_RATE = 5e-3
WARM_UP = 100
CUT = 64


def open_model(tokens):
    config = BertConfig(
        vocab_size=tokens, hidden_size=192, num_hidden_layers=2, num_attention_heads=6, intermediate_size=384,
        max_position_embeddings=CONTEXT, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )
    return BertModel(config, add_pooling_layer=False)


def encode(tokenizer, texts, cut=CUT):
    return tokenizer(texts, padding=True, truncation=True, max_length=cut, return_tensors="pt")


def embed(model, batch, shift=0):
    """Unit vectors. `shift` moves the positions, so that all of them are trained by short texts."""
    positions = torch.arange(batch["input_ids"].shape[1]).unsqueeze(0) + shift
    mask = batch["attention_mask"]
    hidden = model(input_ids=batch["input_ids"], attention_mask=mask, position_ids=positions).last_hidden_state
    weights = mask.unsqueeze(-1).to(hidden.dtype)
    return F.normalize((hidden * weights).sum(1) / weights.sum(1), dim=-1)


def embed_all(model, tokenizer, texts, shift=0, chunk=64):
    """As `embed`, with texts of like lengths together: less than half of the work is padding then."""
    order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
    parts = [embed(model, encode(tokenizer, [texts[i] for i in order[at : at + chunk]]), shift) for at in range(0, len(order), chunk)]
    return torch.cat(parts)[torch.tensor(order).argsort()]


def judge(model, tokenizer):
    model.eval()
    with torch.no_grad():
        found = held_out.judge_vectors(lambda texts: embed(model, encode(tokenizer, texts)))
    model.train()
    return told(found)


def told(found):
    return ", ".join(f"{name} {right} of {of}" for name, (right, of) in found.items())


def contrast(vectors, count):
    """InfoNCE in both directions: the first `count` vectors against their matches, in order, and the hard negatives after those."""
    scores = SCALE * vectors[:count] @ vectors[count:].T
    labels = torch.arange(count)
    return (F.cross_entropy(scores, labels) + F.cross_entropy(scores[:, :count].T, labels)) / 2


def run(name, steps, rate, parameters, corpus, size, vectors_of, report):
    """The loop of both stages: `vectors_of` takes texts and a shift of positions."""
    decay = [p for n, p in parameters if p.dim() > 1 and "embeddings" not in n]
    plain = [p for n, p in parameters if p.dim() <= 1 or "embeddings" in n]
    optimizer = torch.optim.AdamW(
        [{"params": decay, "weight_decay": 0.01}, {"params": plain, "weight_decay": 0}], lr=rate, betas=(0.9, 0.98)
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / WARM_UP, max(0.02, 1 - step / steps))
    )
    began, mean = time.time(), None
    for step in range(steps):
        rows = corpus.batch(size)
        texts = [row[0] for row in rows] + [row[1] for row in rows] + [text for row in rows for text in row[2]]
        shift = 0 if step % 2 else corpus.draw.randrange(CONTEXT - CUT)
        loss = contrast(vectors_of(texts, shift), len(rows))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for _, p in parameters], 1.0)
        optimizer.step()
        schedule.step()
        mean = loss.item() if mean is None else 0.98 * mean + 0.02 * loss.item()
        if step % 100 == 99 or step == steps - 1:
            print(f"{name} {step + 1}: loss {mean:.3f}, {time.time() - began:.0f} s, {time.process_time():.0f} s of CPU; {report()}", flush=True)


def train(tokenizer_folder, out, word_steps, steps, seed=1):
    """First the words alone, which is cheap: a weighted sum of their embeddings. Then the whole encoder."""
    torch.manual_seed(seed)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(tokenizer_folder)
    model = open_model(len(tokenizer)).train()
    corpus = Corpus(seed)
    weight = torch.nn.Parameter(torch.zeros(model.config.hidden_size))

    def bags(texts, shift):
        batch = encode(tokenizer, texts)
        places = torch.arange(batch["input_ids"].shape[1]).unsqueeze(0) + shift
        words = model.embeddings(batch["input_ids"], position_ids=places)
        weights = (words @ weight).exp() * batch["attention_mask"]
        return F.normalize((words * weights.unsqueeze(-1)).sum(1), dim=-1)

    def report_bags():
        with torch.no_grad():
            return told(held_out.judge_vectors(lambda texts: bags(texts, 0)))

    def report():
        model.save_pretrained(out)
        tokenizer.save_pretrained(out)
        return judge(model, tokenizer)

    words = [*((f"embeddings.{n}", p) for n, p in model.embeddings.named_parameters()), ("weight", weight)]
    run("words", word_steps, WORD_RATE, words, corpus, 2 * SIZE, bags, report_bags)
    run("encoder", steps, LEARNING_RATE, list(model.named_parameters()), corpus, SIZE,
        lambda texts, shift: embed_all(model, tokenizer, texts, shift), report)


if __name__ == "__main__":
    torch.set_num_threads(1)
    train(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
