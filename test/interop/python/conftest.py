"""The server's address, and clients for it."""

import os

import grpc
import openai
import pytest

URL = os.environ["LOQUI_TEST_URL"]
HELLO = "Hello, this is a scripted reply \N{WAVING HAND SIGN}."


@pytest.fixture(scope="session")
def client() -> openai.OpenAI:
    """The SDK in its strictest form: a response that is not as documented raises."""
    return openai.OpenAI(
        base_url=f"{URL}/v1", api_key="none", max_retries=0, timeout=20, _strict_response_validation=True
    )


@pytest.fixture(scope="session")
def channel():
    """A gRPC channel to the same port."""
    with grpc.insecure_channel(URL.removeprefix("http://")) as opened:
        yield opened
