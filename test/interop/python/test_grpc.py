"""grpcio with code that protoc generated from our protos, against the same port."""

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status

from conftest import HELLO
from loqui.v1 import chat_pb2, chat_pb2_grpc, error_pb2, model_pb2, model_pb2_grpc, speech_pb2, speech_pb2_grpc


def request(model="hello", **fields):
    content = chat_pb2.MessageContent(text="Hi!")
    message = chat_pb2.ChatMessage(role=chat_pb2.CHAT_ROLE_USER, content=content)
    return chat_pb2.CreateChatCompletionRequest(model=model, messages=[message], **fields)


@pytest.fixture
def chat(channel):
    return chat_pb2_grpc.ChatServiceStub(channel)


def text_of(chunks):
    return "".join(chunk.choices[0].delta.content for chunk in chunks if chunk.choices)


def test_unary(chat):
    answer = chat.CreateChatCompletion(request(), timeout=20)
    assert answer.model == "hello"
    assert answer.choices[0].message.content == HELLO
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_stream(chat):
    assert text_of(chat.StreamChatCompletion(request(), timeout=20)) == HELLO


def test_metadata(chat):
    call = chat.StreamChatCompletion(request(), timeout=20, metadata=[("x-request-id", "from-python")])
    assert dict(call.initial_metadata())["x-request-id"] == "from-python"
    assert text_of(call) == HELLO


def test_cancel_frees_the_slot(chat):
    for _ in range(12):
        call = chat.StreamChatCompletion(request("endless"), timeout=20)
        next(call)
        call.cancel()
    assert chat.CreateChatCompletion(request("endless", max_tokens=3), timeout=20).usage.completion_tokens == 3


def test_deadline(chat):
    with pytest.raises(grpc.RpcError) as caught:
        list(chat.StreamChatCompletion(request("endless"), timeout=0.3))
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED


def detail_of(error):
    status = rpc_status.from_call(error)
    detail = error_pb2.ErrorDetail()
    assert status.details[0].Unpack(detail)
    return detail


def test_error_details(chat):
    with pytest.raises(grpc.RpcError) as caught:
        chat.CreateChatCompletion(request(temperature=3.5), timeout=20)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert detail_of(caught.value).param == "temperature"


def test_unknown_model(chat):
    with pytest.raises(grpc.RpcError) as caught:
        chat.CreateChatCompletion(request("helo"), timeout=20)
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND
    assert detail_of(caught.value).code == "model_not_found"


def test_unary_refuses_stream(chat):
    with pytest.raises(grpc.RpcError) as caught:
        chat.CreateChatCompletion(request(stream=True), timeout=20)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_unimplemented(channel):
    stub = speech_pb2_grpc.SpeechServiceStub(channel)
    with pytest.raises(grpc.RpcError) as caught:
        stub.CreateSpeech(speech_pb2.CreateSpeechRequest(model="hello"), timeout=20)
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_models(channel):
    stub = model_pb2_grpc.ModelServiceStub(channel)
    models = stub.ListModels(model_pb2.ListModelsRequest(), timeout=20)
    assert {"hello", "endless", "small"} <= {model.id for model in models.data}


def test_health(channel):
    stub = health_pb2_grpc.HealthStub(channel)
    assert stub.Check(health_pb2.HealthCheckRequest(), timeout=20).status == health_pb2.HealthCheckResponse.SERVING


def test_reflection(channel):
    database = ProtoReflectionDescriptorDatabase(channel)
    services = set(database.get_services())
    assert {"loqui.v1.ChatService", "loqui.v1.ModelService", "grpc.health.v1.Health"} <= services
    service = DescriptorPool(database).FindServiceByName("loqui.v1.ChatService")
    assert "StreamChatCompletion" in service.methods_by_name
