"""gRPC's interop cases (grpc/doc/interop-test-descriptions.md) by grpcio."""

import os
import queue

import grpc
import pytest
from interop_protos import empty_pb2, test_pb2_grpc
from interop_protos.messages_pb2 import (
    BoolValue,
    EchoStatus,
    Payload,
    ResponseParameters,
    SimpleRequest,
    StreamingInputCallRequest,
    StreamingOutputCallRequest,
)

REQUEST_SIZES = [27182, 8, 1828, 45904]
RESPONSE_SIZES = [31415, 9, 2653, 58979]
LARGE_REQUEST = 271828
LARGE_RESPONSE = 314159
TIMEOUT = 20


@pytest.fixture(scope="module")
def channel():
    with grpc.insecure_channel(os.environ["LOQUI_TEST_GRPC_URL"].removeprefix("http://")) as opened:
        yield opened


@pytest.fixture
def service(channel):
    return test_pb2_grpc.TestServiceStub(channel)


def payload(size):
    return Payload(body=bytes(size))


def output_request(response_size, request_size, **fields):
    parameters = [ResponseParameters(size=response_size)]
    return StreamingOutputCallRequest(response_parameters=parameters, payload=payload(request_size), **fields)


class Requests:
    """A stream of requests that are sent one at a time."""

    def __init__(self):
        self.queue = queue.SimpleQueue()

    def send(self, request):
        self.queue.put(request)

    def end(self):
        self.queue.put(None)

    def __iter__(self):
        return iter(self.queue.get, None)


def failure_of(call):
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value


def test_empty_unary(service):
    assert service.EmptyCall(empty_pb2.Empty(), timeout=TIMEOUT) == empty_pb2.Empty()


def test_large_unary(service):
    request = SimpleRequest(response_size=LARGE_RESPONSE, payload=payload(LARGE_REQUEST))
    assert len(service.UnaryCall(request, timeout=TIMEOUT).payload.body) == LARGE_RESPONSE


def test_client_compressed_unary(service):
    request = SimpleRequest(
        response_size=LARGE_RESPONSE, payload=payload(LARGE_REQUEST), expect_compressed=BoolValue(value=True)
    )
    # First a request that is not compressed, to see that the server looks.
    refused = failure_of(lambda: service.UnaryCall(request, timeout=TIMEOUT))
    assert refused.code() == grpc.StatusCode.INVALID_ARGUMENT
    answer = service.UnaryCall(request, timeout=TIMEOUT, compression=grpc.Compression.Gzip)
    assert len(answer.payload.body) == LARGE_RESPONSE


def test_client_streaming(service):
    requests = (StreamingInputCallRequest(payload=payload(size)) for size in REQUEST_SIZES)
    assert service.StreamingInputCall(requests, timeout=TIMEOUT).aggregated_payload_size == 74922


def test_server_streaming(service):
    parameters = [ResponseParameters(size=size) for size in RESPONSE_SIZES]
    request = StreamingOutputCallRequest(response_parameters=parameters)
    answers = service.StreamingOutputCall(request, timeout=TIMEOUT)
    assert [len(answer.payload.body) for answer in answers] == RESPONSE_SIZES


def test_ping_pong(service):
    requests = Requests()
    call = service.FullDuplexCall(iter(requests), timeout=TIMEOUT)
    for request_size, response_size in zip(REQUEST_SIZES, RESPONSE_SIZES):
        requests.send(output_request(response_size, request_size))
        assert len(next(call).payload.body) == response_size
    requests.end()
    assert list(call) == []
    assert call.code() == grpc.StatusCode.OK


def test_empty_stream(service):
    assert list(service.FullDuplexCall(iter([]), timeout=TIMEOUT)) == []


def test_timeout_on_sleeping_server(service):
    requests = Requests()
    call = service.FullDuplexCall(iter(requests), timeout=0.001)
    requests.send(StreamingOutputCallRequest(payload=payload(27182)))
    assert failure_of(lambda: next(call)).code() == grpc.StatusCode.DEADLINE_EXCEEDED
    requests.end()


def test_cancel_after_begin(service):
    requests = Requests()
    call = service.StreamingInputCall.future(iter(requests), timeout=TIMEOUT)
    call.cancel()
    assert call.cancelled()
    assert call.code() == grpc.StatusCode.CANCELLED
    requests.end()


def test_cancel_after_first_response(service):
    requests = Requests()
    call = service.FullDuplexCall(iter(requests), timeout=TIMEOUT)
    requests.send(output_request(31415, 27182))
    next(call)
    call.cancel()
    assert failure_of(lambda: next(call)).code() == grpc.StatusCode.CANCELLED
    requests.end()


def test_status_code_and_message(service):
    status = EchoStatus(code=2, message="test status message")
    unary = failure_of(lambda: service.UnaryCall(SimpleRequest(response_status=status), timeout=TIMEOUT))
    stream = service.FullDuplexCall(iter([StreamingOutputCallRequest(response_status=status)]), timeout=TIMEOUT)
    for error in (unary, failure_of(lambda: next(stream))):
        assert (error.code(), error.details()) == (grpc.StatusCode.UNKNOWN, "test status message")


def test_special_status_message(service):
    message = "\t\ntest with whitespace\r\nand Unicode BMP \u263a and non-BMP \U0001f608\t\n"
    request = SimpleRequest(response_status=EchoStatus(code=2, message=message))
    error = failure_of(lambda: service.UnaryCall(request, timeout=TIMEOUT))
    assert (error.code(), error.details()) == (grpc.StatusCode.UNKNOWN, message)


def test_custom_metadata(service):
    initial = ("x-grpc-test-echo-initial", "test_initial_metadata_value")
    trailing = ("x-grpc-test-echo-trailing-bin", b"\xab\xab\xab")
    request = SimpleRequest(response_size=1, payload=payload(1))
    _, unary = service.UnaryCall.with_call(request, timeout=TIMEOUT, metadata=[initial, trailing])
    stream = service.FullDuplexCall(iter([output_request(1, 1)]), timeout=TIMEOUT, metadata=[initial, trailing])
    assert len(list(stream)) == 1
    for call in (unary, stream):
        assert initial in call.initial_metadata()
        assert trailing in call.trailing_metadata()


def test_unimplemented_method(service):
    error = failure_of(lambda: service.UnimplementedCall(empty_pb2.Empty(), timeout=TIMEOUT))
    assert error.code() == grpc.StatusCode.UNIMPLEMENTED


def test_unimplemented_service(channel):
    stub = test_pb2_grpc.UnimplementedServiceStub(channel)
    error = failure_of(lambda: stub.UnimplementedCall(empty_pb2.Empty(), timeout=TIMEOUT))
    assert error.code() == grpc.StatusCode.UNIMPLEMENTED
