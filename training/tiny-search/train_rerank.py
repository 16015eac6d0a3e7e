"""Trains tiny-rerank: a BERT that reads a query and a document together, on tiny-embed's words.

Of each group one document belongs to the query; the others share words with it,
are near it by tiny-embed.
"""

import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from transformers import BertConfig, BertForSequenceClassification, BertModel, PreTrainedTokenizerFast

import held_out
from corpus import Corpus
from train_embed import CONTEXT, CUT, embed, encode

LEARNING_RATE = 5e-4
WARM_UP = 60
POOL = 48
QUERIES = 20
SIDE = 9
#: Negatives of a query beside its own one that shares words: drawn from the four nearest of the pool.
NEAREST = 2
HEADS = 3
CARRIED = 0.7


def open_model(embedder):
    """The embedder's words, and two layers that begin as a search for like words, from where training goes on.

    In the first each token looks for like ones, with a lean towards those of the
    document, which carry a mark: a query's token takes up the mark as far as it
    finds its like. In the second the first token gathers the marks of the query.
    """
    shape = embedder.config.to_dict() | {"num_hidden_layers": 2, "num_attention_heads": HEADS, "num_labels": 1}
    for name in ("architectures", "id2label", "label2id"):
        shape.pop(name, None)
    model = BertForSequenceClassification(BertConfig(**shape, id2label={0: "LABEL_0"}))
    embeddings = model.bert.embeddings
    embeddings.load_state_dict(embedder.embeddings.state_dict())
    size = shape["hidden_size"]
    each = size // HEADS
    with torch.no_grad():
        mark = F.normalize(torch.randn(size), dim=0)
        strength = embeddings.word_embeddings.weight.norm(dim=1).median() / 2
        embeddings.token_type_embeddings.weight[1] = embeddings.token_type_embeddings.weight[0] + strength * mark
        # What the mark adds to a score of a head, for a query's bias along it of 1.
        marked = size**0.5 * 0.45 / HEADS / each**0.5
        for layer, lean, likeness in zip(model.bert.encoder.layer, [4.0, -6.0], [1.0, 0.0]):
            attention = layer.attention.self
            attention.key.weight += torch.eye(size)
            attention.query.weight += likeness * torch.eye(size)
            attention.query.bias += lean / marked * mark
            attention.value.weight += CARRIED * torch.eye(size)
            layer.attention.output.dense.weight += CARRIED * torch.eye(size)
    return model


def encode_pairs(tokenizer, queries, documents, cut=2 * CUT):
    return tokenizer(queries, documents, padding=True, truncation=True, max_length=cut, return_tensors="pt")


def score(model, batch, shift=0):
    positions = torch.arange(batch["input_ids"].shape[1]).unsqueeze(0) + shift
    return model(**batch, position_ids=positions).logits[:, 0]


def score_all(model, tokenizer, queries, documents, shift=0, chunk=20):
    """As `score`, with pairs of like lengths together."""
    lengths = [len(query) + len(document) for query, document in zip(queries, documents)]
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    parts = [
        score(model, encode_pairs(tokenizer, [queries[i] for i in some], [documents[i] for i in some]), shift)
        for some in (order[at : at + chunk] for at in range(0, len(order), chunk))
    ]
    return torch.cat(parts)[torch.tensor(order).argsort()]


def judge(model, tokenizer):
    model.eval()

    def scores(query, documents):
        with torch.no_grad():
            return score(model, encode_pairs(tokenizer, [query] * len(documents), documents)).tolist()

    right, of = held_out.judge_rankings(scores)
    first, three, all_of = held_out.judge_search(scores)
    model.train()
    return f"rankings {right} of {of}, search first {first}, among three {three} of {all_of}"


def groups(corpus, embedder, tokenizer):
    """[query], [documents of each, the one that belongs first], all of one length."""
    rows = corpus.batch(POOL)
    with torch.no_grad():
        queries = embed(embedder, encode(tokenizer, [row[0] for row in rows]))
        documents = embed(embedder, encode(tokenizer, [row[1] for row in rows]))
    near = queries @ documents.T
    near.fill_diagonal_(-1)
    nearest = near.topk(min(4, len(rows) - 1), dim=1).indices.tolist()
    made = []
    for number in corpus.draw.sample(range(len(rows)), min(QUERIES, len(rows))):
        query, document, own = rows[number]
        others = [rows[other][1] for other in corpus.draw.sample(nearest[number], NEAREST)]
        own = own or [rows[(number + corpus.draw.randrange(1, len(rows))) % len(rows)][1]]
        made.append((query, [document, own[0], *others]))
    return [query for query, _ in made], [documents for _, documents in made]


def descent(model, steps):
    """What makes each step: down the slope of a loss, ever more slowly."""
    # What words mean is settled; the pairs would only make them forget it.
    model.bert.embeddings.word_embeddings.weight.requires_grad_(False)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / WARM_UP, max(0.02, 1 - step / steps))
    )

    def descend(loss):
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        schedule.step()

    return descend


def train(embed_folder, out, steps, seed=2):
    torch.manual_seed(seed)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(embed_folder)
    embedder = BertModel.from_pretrained(embed_folder, add_pooling_layer=False).eval()
    model = open_model(embedder).train()
    descend = descent(model, steps)
    corpus = Corpus(seed)
    began, mean = time.time(), None
    print(judge(model, tokenizer), flush=True)
    for step in range(steps):
        queries, documents = groups(corpus, embedder, tokenizer)
        count = len(documents[0])
        flat = [text for texts in documents for text in texts]
        shift = 0 if step % 2 else corpus.draw.randrange(CONTEXT - 2 * CUT)
        scores = score_all(model, tokenizer, [query for query in queries for _ in range(count)], flat, shift).view(-1, count)
        wanted = torch.zeros_like(scores)
        wanted[:, 0] = 1
        single = F.binary_cross_entropy_with_logits(scores, wanted, pos_weight=torch.tensor(float(count - 1)))
        loss = F.cross_entropy(scores, torch.zeros(len(scores), dtype=torch.long)) + 0.5 * single
        descend(loss)
        mean = loss.item() if mean is None else 0.98 * mean + 0.02 * loss.item()
        if step % 50 == 49 or step == steps - 1:
            print(f"step {step + 1}: loss {mean:.3f}, {time.time() - began:.0f} s, {time.process_time():.0f} s of CPU; {judge(model, tokenizer)}", flush=True)
            model.save_pretrained(out)
            tokenizer.save_pretrained(out)


def squares(corpus, embedder, tokenizer):
    """Queries, their documents in the same order, and another document for each that shares words: half are like ones by tiny-embed, half any."""
    rows = corpus.batch(POOL)
    with torch.no_grad():
        vectors = embed(embedder, encode(tokenizer, [row[0] for row in rows]))
    chosen = (vectors @ vectors[corpus.draw.randrange(len(rows))]).topk(SIDE // 2).indices.tolist()
    chosen += corpus.draw.sample([number for number in range(len(rows)) if number not in chosen], SIDE - len(chosen))
    picked = [rows[number] for number in chosen]
    others = [(own or [rows[corpus.draw.randrange(len(rows))][1]])[0] for _, _, own in picked]
    return [row[0] for row in picked], [row[1] for row in picked], others


def refine(embed_folder, folder, steps, seed=3):
    """Goes on with every query against every document: a document that looks good to any query loses."""
    torch.manual_seed(seed)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(embed_folder)
    embedder = BertModel.from_pretrained(embed_folder, add_pooling_layer=False).eval()
    model = BertForSequenceClassification.from_pretrained(folder).train()
    descend = descent(model, steps)
    start = [parameter.detach().clone() for parameter in model.parameters()]
    corpus = Corpus(seed)
    began, mean = time.time(), None
    for step in range(steps):
        queries, documents, others = squares(corpus, embedder, tokenizer)
        side = len(queries)
        pairs = [(query, document) for query in queries for document in documents] + list(zip(queries, others))
        shift = 0 if step % 2 else corpus.draw.randrange(CONTEXT - 2 * CUT)
        scores = score_all(model, tokenizer, [query for query, _ in pairs], [document for _, document in pairs], shift)
        square, own = scores[: side * side].view(side, side), scores[side * side :].unsqueeze(1)
        right = torch.arange(side)
        wanted = torch.cat([torch.eye(side), torch.zeros(side, 1)], dim=1)
        rows = torch.cat([square, own], dim=1)
        single = F.binary_cross_entropy_with_logits(rows, wanted, pos_weight=torch.tensor(4.0))
        loss = (F.cross_entropy(rows, right) + F.cross_entropy(square.T, right)) / 2 + 0.5 * single
        descend(loss)
        mean = loss.item() if mean is None else 0.98 * mean + 0.02 * loss.item()
        if step % 50 == 49 or step == steps - 1:
            print(f"refined {step + 1}: loss {mean:.3f}, {time.time() - began:.0f} s, {time.process_time():.0f} s of CPU; {judge(model, tokenizer)}", flush=True)
    # Halfway between both stages (Wortsman et al. 2022): the first tells traps apart, the second what is off the subject.
    with torch.no_grad():
        for parameter, before in zip(model.parameters(), start):
            parameter.lerp_(before, 0.5)
    print(f"halfway: {judge(model, tokenizer)}")
    model.save_pretrained(folder)


if __name__ == "__main__":
    torch.set_num_threads(1)
    if int(sys.argv[3]):
        train(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    refine(sys.argv[1], sys.argv[2], int(sys.argv[4]))
