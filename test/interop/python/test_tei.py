"""What is written for Text Embeddings Inference (TEI): LlamaIndex's packages for it, and Hugging Face's own client."""

import asyncio
import json
import pathlib

import huggingface_hub
import pytest
from huggingface_hub.errors import BadRequestError
from llama_index.core.schema import NodeWithScore, TextNode
from llama_index.embeddings.text_embeddings_inference import TextEmbeddingsInference
from llama_index.postprocessor.tei_rerank import TextEmbeddingInference as Reranker

from conftest import URL

TEXTS = ["Hello, world!", "The quick brown fox", "日本語の文章です。", "the " * 30]
LONG = "the " * 100

FIXTURES = pathlib.Path(__file__).resolve().parents[2] / "engines/onnx/fixtures/rerankers"
PAIRS = json.loads((FIXTURES / "pairs.json").read_text())
SCORES = json.loads((FIXTURES / "bert/reference.json").read_text())["scores"]
# Documents that the reference has with this query.
QUERY = "Hello, world!"
INDEXES = range(200, 240)


@pytest.fixture(scope="module")
def wanted(client):
    """Vectors of the same texts by OpenAI's SDK."""
    found = client.embeddings.create(model="embedder", input=TEXTS, encoding_format="float")
    return [pytest.approx(item.embedding, abs=1e-5) for item in found.data]


@pytest.fixture(scope="module")
def llama_index():
    return TextEmbeddingsInference(model_name="embedder", base_url=URL, timeout=20, embed_batch_size=3)


def test_llama_index_embeds_as_openais_route_does(llama_index, wanted):
    assert llama_index.get_text_embedding_batch(TEXTS) == wanted
    assert llama_index.get_text_embedding(TEXTS[0]) == wanted[0]
    assert llama_index.get_query_embedding(TEXTS[1]) == wanted[1]
    assert asyncio.run(llama_index.aget_text_embedding_batch(TEXTS)) == wanted


def test_llama_index_cuts_what_is_too_long(llama_index, client):
    cut = client.embeddings.create(
        model="embedder", input=LONG, encoding_format="float", extra_body={"truncate": "END"}
    )
    assert llama_index.get_text_embedding(LONG) == pytest.approx(cut.data[0].embedding, abs=1e-5)


def test_llama_index_reranks_as_the_reference_does():
    nodes = [NodeWithScore(node=TextNode(text=PAIRS[index][1]), score=0.0) for index in INDEXES]
    best = sorted(range(len(nodes)), key=lambda at: -SCORES[INDEXES[at]])[:7]
    places = {node.node.node_id: at for at, node in enumerate(nodes)}
    reranker = Reranker(base_url=URL, top_n=7, timeout=20)
    found = reranker.postprocess_nodes(nodes, query_str=QUERY)
    assert [node.score for node in found] == pytest.approx([SCORES[INDEXES[at]] for at in best], abs=1e-4)
    assert [places[node.node.node_id] for node in found] == best


@pytest.fixture(scope="module")
def hub():
    return huggingface_hub.InferenceClient(timeout=20)


def embed(hub, text, **options):
    [vector] = hub.feature_extraction(text, model=f"{URL}/embed", **options)
    return vector


def test_hugging_faces_client_extracts_features(hub, wanted, client):
    for text, vector in zip(TEXTS, wanted):
        assert list(embed(hub, text)) == vector
    cut = client.embeddings.create(model="embedder", input=TEXTS[0], dimensions=4, encoding_format="float")
    assert list(embed(hub, TEXTS[0], dimensions=4)) == pytest.approx(cut.data[0].embedding, abs=1e-5)
    raw = client.embeddings.create(
        model="embedder", input=TEXTS[0], encoding_format="float", extra_body={"normalize": False}
    )
    assert list(embed(hub, TEXTS[0], normalize=False)) == pytest.approx(raw.data[0].embedding, abs=1e-5)


def test_hugging_faces_client_says_where_to_cut(hub, client):
    text = "and " * 100 + LONG
    for direction, end in [("left", "START"), ("right", "END")]:
        cut = client.embeddings.create(
            model="embedder", input=text, encoding_format="float", extra_body={"truncate": end}
        )
        found = embed(hub, text, truncate=True, truncation_direction=direction)
        assert list(found) == pytest.approx(cut.data[0].embedding, abs=1e-5)
    with pytest.raises(BadRequestError, match="maximum context length is 40 tokens"):
        embed(hub, text, truncate=False)


def test_hugging_faces_client_compares_sentences(hub, client):
    found = client.embeddings.create(model="embedder", input=TEXTS, encoding_format="float")
    source, *others = [item.embedding for item in found.data]
    cosines = [sum(a * b for a, b in zip(source, other)) for other in others]
    similarities = hub.sentence_similarity(TEXTS[0], TEXTS[1:], model=f"{URL}/similarity")
    assert similarities == pytest.approx(cosines, abs=1e-5)
