"""Cohere's SDK, by its clients for both versions of the API."""

import json
import pathlib

import cohere
import pytest

from conftest import URL

FIXTURES = pathlib.Path(__file__).resolve().parents[2] / "engines/onnx/fixtures/rerankers"
PAIRS = json.loads((FIXTURES / "pairs.json").read_text())
REFERENCE = json.loads((FIXTURES / "bert/reference.json").read_text())

QUERY = "Hello, world!"
# Documents that the reference has with this query.
INDEXES = range(200, 240)
DOCUMENTS = [PAIRS[index][1] for index in INDEXES]
SCORES = [REFERENCE["scores"][index] for index in INDEXES]


@pytest.fixture(scope="module", params=[cohere.Client, cohere.ClientV2], ids=["v1", "v2"])
def cohere_client(request):
    return request.param(api_key="none", base_url=URL, timeout=20)


def test_scores_are_the_references(cohere_client):
    response = cohere_client.rerank(model="reranker", query=QUERY, documents=DOCUMENTS)
    assert response.id.startswith("rerank-")
    found = {result.index: result.relevance_score for result in response.results}
    assert found == pytest.approx(dict(enumerate(SCORES)), abs=1e-4)
    scores = [result.relevance_score for result in response.results]
    assert scores == sorted(scores, reverse=True)
    tokens = sum(len(REFERENCE["ids"][index]) for index in INDEXES)
    assert response.meta.tokens.input_tokens == tokens


def test_top_n(cohere_client):
    response = cohere_client.rerank(model="reranker", query=QUERY, documents=DOCUMENTS, top_n=3)
    assert [result.relevance_score for result in response.results] == pytest.approx(
        sorted(SCORES, reverse=True)[:3], abs=1e-4
    )


def test_v1_documents_and_rank_fields():
    client = cohere.Client(api_key="none", base_url=URL, timeout=20)
    documents = [{"text": "lazy", "title": "dog"}, {"text": "dog", "title": "lazy"}]
    response = client.rerank(
        model="reranker", query=QUERY, documents=documents, rank_fields=["title"], return_documents=True
    )
    by_index = {result.index: result for result in response.results}
    assert by_index[0].document.text == "lazy"
    assert by_index[0].document.title == "dog"
    plain = client.rerank(model="reranker", query=QUERY, documents=["title: dog", "title: lazy"])
    assert {result.index: result.relevance_score for result in plain.results} == {
        index: result.relevance_score for index, result in by_index.items()
    }


def test_v2_max_tokens_per_doc():
    client = cohere.ClientV2(api_key="none", base_url=URL, timeout=20)
    long = "the lazy dog " * 50
    with pytest.raises(cohere.BadRequestError) as caught:
        client.rerank(model="reranker", query=QUERY, documents=[long])
    assert caught.value.body["error"]["code"] == "context_length_exceeded"
    response = client.rerank(model="reranker", query=QUERY, documents=[long], max_tokens_per_doc=10)
    assert response.meta.warnings == ["cut to 10 tokens: documents[0]"]


def test_errors(cohere_client):
    with pytest.raises(cohere.NotFoundError) as unknown:
        cohere_client.rerank(model="rerankr", query=QUERY, documents=["a"])
    assert "did you mean reranker?" in unknown.value.body["error"]["message"]
    with pytest.raises(cohere.BadRequestError) as none:
        cohere_client.rerank(model="reranker", query=QUERY, documents=["a"], top_n=0)
    assert none.value.body["error"]["param"] == "top_n"
    with pytest.raises(cohere.BadRequestError) as chat:
        cohere_client.rerank(model="hello", query=QUERY, documents=["a"])
    assert chat.value.body["error"]["message"] == "the model hello is of type chat, not rerank"
