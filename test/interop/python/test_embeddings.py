"""Embeddings by OpenAI's SDK and by grpcio: one text, many, and a stream of them."""

import base64
import struct

import grpc
import openai
import pytest

from conftest import URL
from loqui.v1 import common_pb2, embedding_pb2, embedding_pb2_grpc

TEXTS = ["Hello, world!", "The quick brown fox", "日本語の文章です。"]
WIDTH = 16


@pytest.fixture(scope="session")
def packing():
    """The SDK as it is: it asks for base64 where nothing is said, which its own types, held to strictly, don't know."""
    return openai.OpenAI(base_url=f"{URL}/v1", api_key="none", max_retries=0, timeout=20)


def floats_of(client, texts):
    found = client.embeddings.create(model="embedder", input=texts, encoding_format="float")
    return [item.embedding for item in found.data]


@pytest.fixture
def embeddings(channel):
    return embedding_pb2_grpc.EmbeddingServiceStub(channel)


def test_the_sdk_reads_base64_as_it_does_floats(client, packing):
    default = packing.embeddings.create(model="embedder", input=TEXTS)
    floats = client.embeddings.create(model="embedder", input=TEXTS, encoding_format="float")
    assert [item.index for item in default.data] == [0, 1, 2]
    assert default.usage.prompt_tokens == default.usage.total_tokens > 0
    for one, other in zip(default.data, floats.data):
        assert len(one.embedding) == WIDTH
        assert one.embedding == pytest.approx(other.embedding, abs=1e-6)
        assert sum(number * number for number in one.embedding) == pytest.approx(1, abs=1e-5)


def test_base64_is_little_endian_float32(client, packing):
    [floats] = floats_of(client, TEXTS[:1])
    packed = packing.embeddings.create(model="embedder", input=TEXTS[0], encoding_format="base64").data[0].embedding
    assert list(struct.unpack(f"<{WIDTH}f", base64.b64decode(packed))) == pytest.approx(floats, abs=1e-6)


def test_dimensions_and_tokens(packing):
    cut = packing.embeddings.create(model="embedder", input=TEXTS[0], dimensions=4).data[0].embedding
    assert len(cut) == 4
    assert sum(number * number for number in cut) == pytest.approx(1, abs=1e-5)
    assert len(packing.embeddings.create(model="embedder", input=[[7, 8], [9]]).data) == 2


def test_errors(client):
    with pytest.raises(openai.BadRequestError) as caught:
        client.embeddings.create(model="embedder", input=["a", "the " * 100])
    assert caught.value.code == "context_length_exceeded"
    assert caught.value.param == "input[1]"
    with pytest.raises(openai.BadRequestError) as caught:
        client.embeddings.create(model="embedder", input="a", dimensions=100)
    assert caught.value.param == "dimensions"
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(model="nothing", input="a")


def test_grpc_answers_with_packed_floats(embeddings, client):
    request = embedding_pb2.CreateEmbeddingsRequest(model="embedder", texts=common_pb2.Texts(texts=TEXTS))
    answer = embeddings.CreateEmbeddings(request, timeout=20)
    wanted = floats_of(client, TEXTS)
    assert [list(item.values.values) for item in answer.data] == [pytest.approx(vector, abs=1e-6) for vector in wanted]
    assert answer.model == "embedder"


def messages(items, **options):
    options = embedding_pb2.StreamEmbeddingsOptions(model="embedder", **options)
    yield embedding_pb2.StreamEmbeddingsRequest(options=options)
    for item in items:
        yield embedding_pb2.StreamEmbeddingsRequest(item=item)


def item(index, text):
    return embedding_pb2.StreamEmbeddingsItem(id=str(index), text=text)


def test_a_stream_of_texts(embeddings, client):
    texts = [TEXTS[index % len(TEXTS)] for index in range(1_000)]
    answers = list(embeddings.StreamEmbeddings(messages(map(item, range(1_000), texts)), timeout=60))
    wanted = floats_of(client, TEXTS)
    assert sorted(int(answer.id) for answer in answers) == list(range(1_000))
    for answer in answers:
        assert list(answer.values.values) == pytest.approx(wanted[int(answer.id) % len(TEXTS)], abs=1e-4)


def test_a_bad_text_of_a_stream_fails_alone(embeddings):
    items = [item(0, "a"), item(1, "the " * 100), item(2, "b")]
    answers = {answer.id: answer for answer in embeddings.StreamEmbeddings(messages(items), timeout=20)}
    assert [answers[name].WhichOneof("result") for name in "012"] == ["values", "error", "values"]
    assert answers["1"].error.detail.code == "context_length_exceeded"


def test_options_that_the_model_cannot_honour_end_the_stream(embeddings):
    with pytest.raises(grpc.RpcError) as caught:
        list(embeddings.StreamEmbeddings(messages([item(0, "a")], dimensions=100), timeout=20))
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_a_stream_can_be_cancelled(embeddings):
    endless = (item(index, "text") for index in iter(int, 1))
    call = embeddings.StreamEmbeddings(messages(endless), timeout=60)
    next(call)
    call.cancel()
    with pytest.raises(grpc.RpcError) as caught:
        for _ in call:
            pass
    assert caught.value.code() == grpc.StatusCode.CANCELLED
