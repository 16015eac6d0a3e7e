"""The texts that the models are judged by, from fixtures/held-out.txt."""

from pathlib import Path

HERE = Path(__file__).parent


def read():
    """{triples: [(text, like, unlike)], search: [(question, text)], rankings: [(query, [(text, belongs)])]}."""
    found = {"triples": [], "search": [], "rankings": []}
    section = ""
    for line in (HERE / "fixtures" / "held-out.txt").read_text().splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line.startswith("= "):
            found["rankings"].append((line[2:], []))
        elif line.startswith(("+ ", "- ")):
            found["rankings"][-1][1].append((line[2:], line[0] == "+"))
        elif line and not line.startswith("#"):
            found[section].append(tuple(part.strip() for part in line.split("|")))
    return found


def judge_vectors(embed):
    """Shares of right answers; `embed` takes texts and gives unit vectors as rows."""
    texts = read()
    triples = texts["triples"]
    anchors, like, unlike = (embed([row[column] for row in triples]) for column in range(3))
    right = ((anchors * like).sum(1) > (anchors * unlike).sum(1)).sum()
    questions, answers = (embed([row[column] for row in texts["search"]]) for column in range(2))
    order = (-questions @ answers.T).argsort(1)
    places = [int((row == number).nonzero()[0][0]) for number, row in enumerate(order.numpy() if hasattr(order, "numpy") else order)]
    ranked = judge_rankings(lambda query, documents: (embed(documents) @ embed([query])[0]).tolist())
    return {
        "triples": (int(right), len(triples)),
        "search first": (sum(place == 0 for place in places), len(places)),
        "search among three": (sum(place < 3 for place in places), len(places)),
        "rankings": ranked,
    }


def judge_rankings(score):
    """How often the text that belongs to the query has the highest score; `score` takes a query and its texts."""
    rankings = read()["rankings"]
    right = 0
    for query, documents in rankings:
        scores = score(query, [text for text, _ in documents])
        right += documents[max(range(len(scores)), key=scores.__getitem__)][1]
    return right, len(rankings)


def judge_search(score):
    """As the questions of `search`, each scored against all texts: first, among three, of all."""
    pairs = read()["search"]
    places = []
    for number, (question, _) in enumerate(pairs):
        scores = score(question, [text for _, text in pairs])
        places.append(sum(other > scores[number] for other in scores))
    return sum(place == 0 for place in places), sum(place < 3 for place in places), len(places)


def judge_overlap():
    """What counting shared words gets right: the least that a model has to be better than."""
    import re

    import torch

    texts = read()
    every = [text for rows in (texts["triples"], texts["search"]) for row in rows for text in row]
    every += [text for query, documents in texts["rankings"] for text in [query, *(document for document, _ in documents)]]

    def words(text):
        return set(re.findall(r"\w+", text.lower()))

    vocabulary = {word: index for index, word in enumerate(sorted(set().union(*map(words, every))))}
    rarity = torch.zeros(len(vocabulary))
    for text in every:
        for word in words(text):
            rarity[vocabulary[word]] += 1
    rarity = (len(every) / rarity).log()

    def embed(some):
        vectors = torch.zeros(len(some), len(vocabulary))
        for row, text in zip(vectors, some):
            for word in words(text):
                row[vocabulary[word]] = rarity[vocabulary[word]]
        return torch.nn.functional.normalize(vectors, dim=-1)

    return judge_vectors(embed)


if __name__ == "__main__":
    print(judge_overlap())
