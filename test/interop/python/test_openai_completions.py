"""OpenAI's Python SDK completes texts: the endpoint from before chat."""

import openai
import pytest

from conftest import HELLO, URL


@pytest.mark.parametrize("prompt", ["abc", [64, 65, 66], ["abc"], [[64, 65, 66]]])
def test_completion(client, prompt):
    answer = client.completions.create(model="hello", prompt=prompt)
    assert answer.object == "text_completion"
    assert [(choice.index, choice.text, choice.finish_reason) for choice in answer.choices] == [(0, HELLO, "stop")]
    assert answer.usage.prompt_tokens == 3


def test_prompts_and_choices(client):
    answer = client.completions.create(model="hello", prompt=["a", "b"], n=2, echo=True)
    assert [choice.text for choice in answer.choices] == ["a" + HELLO, "a" + HELLO, "b" + HELLO, "b" + HELLO]
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]


def test_stream():
    # OpenAI streams `finish_reason: null`, which the SDK's strict form refuses.
    client = openai.OpenAI(base_url=f"{URL}/v1", api_key="none", max_retries=0, timeout=20)
    options = {"include_usage": True}
    chunks = list(client.completions.create(model="hello", prompt="abc", stream=True, stream_options=options))
    assert "".join(chunk.choices[0].text for chunk in chunks[:-1]) == HELLO
    assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]][-1] == "stop"
    assert chunks[-1].choices == [] and chunks[-1].usage.prompt_tokens == 3


def test_length_and_stop(client):
    answer = client.completions.create(model="endless", prompt="x", max_tokens=4)
    assert (answer.choices[0].text, answer.choices[0].finish_reason) == ("on and off on ", "length")
    assert client.completions.create(model="endless", prompt="x", stop="off").choices[0].text == "on and "


def test_logprobs(client):
    # Without echo: OpenAI's null for a prompt's first token is no number to the SDK's strict form.
    answer = client.completions.create(model="hello", prompt="ab", max_tokens=2, logprobs=3)
    logprobs = answer.choices[0].logprobs
    assert logprobs.tokens == ["Hello", ", "]
    assert logprobs.text_offset[1] - logprobs.text_offset[0] == len("Hello")
    assert all(-1e-6 < value <= 0 for value in logprobs.token_logprobs)
    assert all(len(top) == 3 for top in logprobs.top_logprobs)


@pytest.mark.parametrize(
    "options, param", [({"prompt": [99999999]}, "prompt[0]"), ({"n": 2, "best_of": 1}, "best_of"), ({"logprobs": 99}, "logprobs")]
)
def test_refusals(client, options, param):
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(**{"model": "hello", "prompt": "a", **options})
    assert caught.value.param == param
