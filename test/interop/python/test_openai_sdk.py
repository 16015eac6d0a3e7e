"""OpenAI's Python SDK, unchanged, against the server."""

import asyncio

import openai
import pytest

from conftest import HELLO, URL

QUESTION = [{"role": "user", "content": "Hi!"}]


def test_chat_completion(client):
    answer = client.chat.completions.create(model="hello", messages=QUESTION)
    assert answer.id.startswith("chatcmpl-")
    assert answer.object == "chat.completion"
    assert answer.model == "hello"
    assert len(answer.choices) == 1
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].message.content == HELLO
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.completion_tokens == 11
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_stream(client):
    chunks = list(client.chat.completions.create(model="hello", messages=QUESTION, stream=True))
    assert {chunk.id for chunk in chunks} == {chunks[0].id}
    assert {chunk.created for chunk in chunks} == {chunks[0].created}
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == HELLO
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices[0].finish_reason] == ["stop"]
    assert all(chunk.usage is None for chunk in chunks)


def test_stream_with_usage(client):
    options = {"include_usage": True}
    chunks = list(client.chat.completions.create(model="hello", messages=QUESTION, stream=True, stream_options=options))
    assert chunks[-1].choices == []
    assert chunks[-1].usage.total_tokens == chunks[-1].usage.prompt_tokens + chunks[-1].usage.completion_tokens
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_stream_helper(client):
    with client.chat.completions.stream(model="hello", messages=QUESTION) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_completion()
    assert "content.delta" in kinds and "content.done" in kinds
    assert final.choices[0].message.content == HELLO


def test_content_parts(client):
    parts = [{"type": "text", "text": "Hi"}, {"type": "text", "text": "!"}]
    answer = client.chat.completions.create(model="hello", messages=[{"role": "user", "content": parts}])
    assert answer.choices[0].message.content == HELLO


def test_max_tokens(client):
    answer = client.chat.completions.create(model="endless", messages=QUESTION, max_completion_tokens=5)
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 5


@pytest.mark.parametrize("stop", ["is a", ["nothing", "is a"]])
def test_stop(client, stop):
    answer = client.chat.completions.create(model="hello", messages=QUESTION, stop=stop)
    assert answer.choices[0].message.content == HELLO[: HELLO.index("is a ")]
    assert answer.choices[0].finish_reason == "stop"


def test_cached_tokens(client):
    messages = [{"role": "user", "content": "the same long question again " * 8}]
    client.chat.completions.create(model="hello", messages=messages)
    usage = client.chat.completions.create(model="hello", messages=messages).usage
    assert usage.prompt_tokens_details.cached_tokens == usage.prompt_tokens - 1


def test_choices(client):
    answer = client.chat.completions.create(model="hello", messages=QUESTION, n=3)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert [choice.message.content for choice in answer.choices] == [HELLO] * 3
    assert answer.usage.completion_tokens == 33


def test_streamed_choices(client):
    with client.chat.completions.stream(model="hello", messages=QUESTION, n=2) as stream:
        final = stream.get_final_completion()
    assert [choice.message.content for choice in final.choices] == [HELLO] * 2


def test_logprobs(client):
    answer = client.chat.completions.create(model="hello", messages=QUESTION, logprobs=True, top_logprobs=3)
    tokens = answer.choices[0].logprobs.content
    assert bytes(byte for token in tokens for byte in token.bytes).decode() == HELLO
    assert all(-1e-6 < token.logprob <= 0 and len(token.top_logprobs) == 3 for token in tokens)


def test_streamed_logprobs(client):
    options = {"model": "hello", "messages": QUESTION, "logprobs": True, "top_logprobs": 1}
    with client.chat.completions.stream(**options) as stream:
        content = [token for event in stream if event.type == "logprobs.content.delta" for token in event.content]
        final = stream.get_final_completion()
    assert content == final.choices[0].logprobs.content
    assert bytes(byte for token in content for byte in token.bytes).decode() == HELLO


def test_models(client):
    ids = [model.id for model in client.models.list()]
    assert {"hello", "endless", "small"} <= set(ids)
    model = client.models.retrieve("hello")
    assert (model.id, model.object, model.owned_by) == ("hello", "model", "local")
    assert client.models.retrieve("loqui/tiny-chat").id == "loqui/tiny-chat"


def test_unknown_model(client):
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="helo", messages=QUESTION)
    assert caught.value.code == "model_not_found"
    assert "hello" in caught.value.message


def test_context_length(client):
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="small", messages=[{"role": "user", "content": "x" * 500}])
    assert caught.value.code == "context_length_exceeded"
    assert "64" in caught.value.message


def test_bad_value(client):
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="hello", messages=QUESTION, temperature=3.5)
    assert caught.value.param == "temperature"


def test_not_there_yet(client):
    with pytest.raises(openai.APIStatusError) as caught:
        client.audio.speech.create(model="hello", input="text", voice="alloy")
    assert caught.value.status_code == 501
    assert caught.value.body["type"] == "server_error"


def test_request_id(client):
    raw = client.chat.completions.with_raw_response.create(
        model="hello", messages=QUESTION, extra_headers={"x-request-id": "from-the-client"}
    )
    assert raw.headers["x-request-id"] == "from-the-client"


def test_leaving_a_stream_frees_its_place(client):
    for _ in range(12):
        stream = client.chat.completions.create(model="endless", messages=QUESTION, stream=True)
        next(iter(stream))
        stream.close()
    answer = client.chat.completions.create(model="endless", messages=QUESTION, max_completion_tokens=3)
    assert answer.usage.completion_tokens == 3


def test_many_at_once():
    async def ask() -> list[str]:
        async with openai.AsyncOpenAI(base_url=f"{URL}/v1", api_key="none", max_retries=0) as client:
            calls = [client.chat.completions.create(model="hello", messages=QUESTION) for _ in range(24)]
            return [answer.choices[0].message.content for answer in await asyncio.gather(*calls)]

    assert asyncio.run(ask()) == [HELLO] * 24
