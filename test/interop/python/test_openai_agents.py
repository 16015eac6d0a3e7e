"""OpenAI's Python SDK runs tools and reads structured output."""

import json
from typing import Literal

import openai
import pydantic
import pytest

from conftest import TRANSPORT

QUESTION = [{"role": "user", "content": "Where is it warmer, in Oslo or in Bergen?"}]
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
OPERANDS = {
    "type": "object",
    "properties": {"a": {"type": "number"}, "b": {"type": "number"}},
    "required": ["a", "b"],
}
TOOLS = [
    {"type": "function", "function": {"name": "weather", "description": "The weather.", "parameters": CITY}},
    {"type": "function", "function": {"name": "subtract", "description": "a less b.", "parameters": OPERANDS}},
]
FUNCTIONS = {
    "weather": lambda city: f"{9 if city == 'Oslo' else 12} °C",
    "subtract": lambda a, b: str(a - b),
}
CALLS = [("weather", {"city": "Oslo"}), ("weather", {"city": "Bergen"}), ("subtract", {"a": 12, "b": 9})]
ANSWER = "Bergen is 3 °C warmer than Oslo."


class Person(pydantic.BaseModel):
    name: str
    age: int = pydantic.Field(ge=0, le=130)
    tags: list[str]


class Node(pydantic.BaseModel):
    kind: Literal["leaf", "knot"]
    weight: float | None
    children: list["Node"] = pydantic.Field(max_length=2)


ADA = Person(name="Ada", age=36, tags=["first"])


def run(complete):
    """The loop of an agent: what was called, and the last answer."""
    messages, called = list(QUESTION), []
    for _ in range(5):
        message = complete(messages)
        messages.append(message.model_dump(exclude_none=True))
        if not message.tool_calls:
            return called, message.content
        for call in message.tool_calls:
            arguments = json.loads(call.function.arguments)
            called.append((call.function.name, arguments))
            content = FUNCTIONS[call.function.name](**arguments)
            messages.append({"role": "tool", "tool_call_id": call.id, "content": content})
    raise AssertionError("it never answers")


def test_tools(client):
    def complete(messages):
        answer = client.chat.completions.create(model="agent", messages=messages, tools=TOOLS)
        calls = answer.choices[0].message.tool_calls
        assert answer.choices[0].finish_reason == ("tool_calls" if calls else "stop")
        return answer.choices[0].message

    assert run(complete) == (CALLS, ANSWER)


def test_streamed_tools(client):
    def complete(messages):
        with client.chat.completions.stream(model="agent", messages=messages, tools=TOOLS) as stream:
            pieces = {}
            done = []
            for event in stream:
                if event.type == "tool_calls.function.arguments.delta":
                    pieces[event.index] = pieces.get(event.index, "") + event.arguments_delta
                    assert event.arguments == pieces[event.index]
                if event.type == "tool_calls.function.arguments.done":
                    done.append((event.index, event.arguments))
            message = stream.get_final_completion().choices[0].message
        assert done == list(pieces.items())
        assert [call.function.arguments for call in message.tool_calls or []] == list(pieces.values())
        return message

    assert run(complete) == (CALLS, ANSWER)


class Weather(pydantic.BaseModel):
    """The weather in a city."""

    city: Literal["Oslo", "Bergen"]
    days: int = pydantic.Field(ge=1, le=7)


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "Weather"}}])
def test_forced_call(client, choice):
    # The model would rather say something else first.
    tool = openai.pydantic_function_tool(Weather)
    answer = client.chat.completions.parse(
        model="agent", messages=QUESTION, tools=[tool], tool_choice=choice, parallel_tool_calls=False, seed=2
    )
    (call,) = answer.choices[0].message.tool_calls
    assert call.function.name == "Weather"
    assert isinstance(call.function.parsed_arguments, Weather)


def test_parse(client):
    answer = client.chat.completions.parse(model="person", messages=QUESTION, response_format=Person)
    assert answer.choices[0].message.parsed == ADA


def test_parse_of_a_recursive_schema(client):
    answer = client.chat.completions.parse(
        model="hello", messages=QUESTION, response_format=Node, max_completion_tokens=800, seed=3
    )
    assert isinstance(answer.choices[0].message.parsed, Node)


def test_streamed_parse(client):
    with client.chat.completions.stream(model="person", messages=QUESTION, response_format=Person) as stream:
        parsed = [event.parsed for event in stream if event.type == "content.delta"]
        final = stream.get_final_completion()
    assert {"name": "Ada"} in parsed
    assert final.choices[0].message.parsed == ADA


def test_parse_of_an_answer_that_is_cut_short(client):
    with pytest.raises(openai.LengthFinishReasonError):
        client.chat.completions.parse(
            model="person", messages=QUESTION, response_format=Person, max_completion_tokens=3
        )


def test_responses_were_checked(client):
    if TRANSPORT.specification is None:
        pytest.skip("LOQUI_TEST_OPENAI_SCHEMAS names no file")
    before = TRANSPORT.checked
    client.chat.completions.create(model="hello", messages=QUESTION)
    assert TRANSPORT.checked == before + 1
    TRANSPORT.check(("CreateChatCompletionResponse",), False, '{"id": "x", "choices": []}')
    assert TRANSPORT.problems != []
    TRANSPORT.problems.clear()
