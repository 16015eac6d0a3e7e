"""The server's address, and clients for it."""

import json
import os
import pathlib

import grpc
import httpx2
import jsonschema
import openai
import pytest

URL = os.environ["LOQUI_TEST_URL"]
HELLO = "Hello, this is a scripted reply \N{WAVING HAND SIGN}."

# OpenAI's names for what an operation answers: whole, and an event of its stream.
SCHEMAS = {
    "/v1/chat/completions": ("CreateChatCompletionResponse", "CreateChatCompletionStreamResponse"),
    "/v1/completions": ("CreateCompletionResponse", "CreateCompletionResponse"),
    "/v1/embeddings": ("CreateEmbeddingResponse", "CreateEmbeddingResponse"),
    "/v1/models": ("ListModelsResponse", "ListModelsResponse"),
}


class CheckedStream(httpx2.SyncByteStream):
    """A body that is checked when it has been read to its end."""

    def __init__(self, stream, check):
        self.stream, self.check = stream, check

    def __iter__(self):
        body = b""
        for part in self.stream:
            body += part
            yield part
        self.check(body)

    def close(self):
        self.stream.close()


class CheckedTransport(httpx2.HTTPTransport):
    """Holds what is read to its end against OpenAI's own schemas; all of it passes where they aren't at hand."""

    def __init__(self):
        super().__init__()
        path = pathlib.Path(os.environ.get("LOQUI_TEST_OPENAI_SCHEMAS", ""))
        self.specification = json.loads(path.read_text()) if path.is_file() else None
        self.checked = 0
        self.problems = []

    def handle_request(self, request):
        response = super().handle_request(request)
        names = SCHEMAS.get(request.url.path)
        if self.specification is None or names is None:
            return response
        streamed = response.headers["content-type"].startswith("text/event-stream")
        stream = CheckedStream(response.stream, lambda body: self.check(names, streamed, body.decode()))
        return httpx2.Response(response.status_code, headers=response.headers, stream=stream)

    def check(self, names, streamed, body):
        events = [event.removeprefix("data: ") for event in body.split("\n\n") if event.startswith("data: ")]
        for text in events if streamed else [body]:
            if text == "[DONE]":
                continue
            value = json.loads(text)
            name = "ErrorResponse" if "error" in value else names[streamed]
            schema = {**self.specification, "$ref": f"#/components/schemas/{name}"}
            for error in jsonschema.Draft202012Validator(schema).iter_errors(value):
                # OpenAI streams `finish_reason: null` for completions too, which its specification forgets.
                if name != "CreateCompletionResponse" or list(error.path)[-1:] != ["finish_reason"]:
                    self.problems.append(f"{name} {error.json_path}: {error.message}")
            self.checked += 1


TRANSPORT = CheckedTransport()


@pytest.fixture(autouse=True)
def responses_are_openais():
    """What the SDK got in a test is as OpenAI's specification has it."""
    TRANSPORT.problems.clear()
    yield
    assert TRANSPORT.problems == []


@pytest.fixture(scope="session")
def client() -> openai.OpenAI:
    """The SDK in its strictest form: a response that is not as documented raises."""
    return openai.OpenAI(
        base_url=f"{URL}/v1",
        api_key="none",
        max_retries=0,
        timeout=20,
        _strict_response_validation=True,
        http_client=openai.DefaultHttpxClient(transport=TRANSPORT),
    )


@pytest.fixture(scope="session")
def channel():
    """A gRPC channel to the same port."""
    with grpc.insecure_channel(URL.removeprefix("http://")) as opened:
        yield opened
