"""What sentence-transformers computes with the published files, for the tests: `python fixture.py [embed|rerank]`."""

import base64
import json
import sys
from pathlib import Path

import torch
from sentence_transformers import CrossEncoder, SentenceTransformer

import held_out

HERE = Path(__file__).parent
MODELS = HERE.parent.parent / "models"
FLOAT32 = {"dtype": torch.float32}


def write_embed():
    model = SentenceTransformer(str(MODELS / "tiny-embed"), device="cpu", model_kwargs=FLOAT32)
    print("tiny-embed", held_out.judge_vectors(lambda some: model.encode(some, convert_to_tensor=True).cpu()))
    texts = [row[0] for row in held_out.read()["triples"][:8]] + ["naïve CAFÉ 😀", "the " * 400]
    vectors = model.encode(texts)
    write("tiny-embed", [
        {"text": text, "vector": base64.b64encode(row.astype("<f4").tobytes()).decode()} for text, row in zip(texts, vectors)
    ])


def write_rerank():
    model = CrossEncoder(str(MODELS / "tiny-rerank"), device="cpu", model_kwargs=FLOAT32)

    def score(query, documents):
        return model.predict([(query, document) for document in documents]).tolist()

    print("tiny-rerank", held_out.judge_rankings(score), held_out.judge_search(score))
    rankings = [(query, [text for text, _ in documents]) for query, documents in held_out.read()["rankings"][:6]]
    write("tiny-rerank", [
        {"query": query, "documents": documents, "scores": [round(value, 6) for value in score(query, documents)]}
        for query, documents in rankings
    ])


def write(name, content):
    (HERE / "fixtures" / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for make in {"embed": [write_embed], "rerank": [write_rerank]}.get(sys.argv[-1], [write_embed, write_rerank]):
        make()
