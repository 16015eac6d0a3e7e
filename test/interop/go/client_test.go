// Package interop calls the server with clients that protoc-gen-go and
// protoc-gen-go-grpc generated from our protos.
package interop

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	loquiv1 "loqui.test/interop/gen/loqui/v1"
)

const hello = "Hello, this is a scripted reply 👋."

func dial(t *testing.T) *grpc.ClientConn {
	t.Helper()
	address := strings.TrimPrefix(os.Getenv("LOQUI_TEST_URL"), "http://")
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { connection.Close() })
	return connection
}

func deadline(t *testing.T, after time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), after)
	t.Cleanup(cancel)
	return ctx
}

func question(model string) *loquiv1.CreateChatCompletionRequest {
	return &loquiv1.CreateChatCompletionRequest{
		Model: model,
		Messages: []*loquiv1.ChatMessage{{
			Role:    loquiv1.ChatRole_CHAT_ROLE_USER,
			Content: &loquiv1.MessageContent{Content: &loquiv1.MessageContent_Text{Text: "Hi!"}},
		}},
	}
}

func TestUnary(t *testing.T) {
	answer, err := loquiv1.NewChatServiceClient(dial(t)).CreateChatCompletion(deadline(t, 20*time.Second), question("hello"))
	if err != nil {
		t.Fatal(err)
	}
	if text := answer.Choices[0].Message.GetContent(); text != hello {
		t.Errorf("got %q", text)
	}
	if reason := answer.Choices[0].GetFinishReason(); reason != loquiv1.FinishReason_FINISH_REASON_STOP {
		t.Errorf("got %v", reason)
	}
}

func TestStream(t *testing.T) {
	ctx := metadata.AppendToOutgoingContext(deadline(t, 20*time.Second), "x-request-id", "from-go")
	stream, err := loquiv1.NewChatServiceClient(dial(t)).StreamChatCompletion(ctx, question("hello"))
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for {
		chunk, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		text.WriteString(chunk.Choices[0].Delta.GetContent())
	}
	if text.String() != hello {
		t.Errorf("got %q", text.String())
	}
	header, _ := stream.Header()
	if got := header.Get("x-request-id"); len(got) != 1 || got[0] != "from-go" {
		t.Errorf("got %v", got)
	}
}

func TestCancelFreesTheSlot(t *testing.T) {
	client := loquiv1.NewChatServiceClient(dial(t))
	for range 12 {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		stream, err := client.StreamChatCompletion(ctx, question("endless"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); err != nil {
			t.Fatal(err)
		}
		cancel()
		for err == nil {
			_, err = stream.Recv()
		}
		if status.Code(err) != codes.Canceled {
			t.Fatalf("got %v", err)
		}
	}
	request := question("endless")
	limit := int32(3)
	request.MaxTokens = &limit
	answer, err := client.CreateChatCompletion(deadline(t, 20*time.Second), request)
	if err != nil {
		t.Fatal(err)
	}
	if answer.Usage.CompletionTokens != 3 {
		t.Errorf("got %v", answer.Usage)
	}
}

func TestDeadline(t *testing.T) {
	stream, err := loquiv1.NewChatServiceClient(dial(t)).StreamChatCompletion(deadline(t, 300*time.Millisecond), question("endless"))
	for err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("got %v", err)
	}
}

func TestErrorDetails(t *testing.T) {
	request := question("hello")
	hot := 3.5
	request.Temperature = &hot
	_, err := loquiv1.NewChatServiceClient(dial(t)).CreateChatCompletion(deadline(t, 20*time.Second), request)
	if status.Code(err) != codes.InvalidArgument {
		t.Fatalf("got %v", err)
	}
	for _, detail := range status.Convert(err).Details() {
		if known, ok := detail.(*loquiv1.ErrorDetail); ok && known.GetParam() == "temperature" {
			return
		}
	}
	t.Errorf("no detail names temperature: %v", err)
}

func TestManyAtOnce(t *testing.T) {
	client := loquiv1.NewChatServiceClient(dial(t))
	var group sync.WaitGroup
	for range 24 {
		group.Go(func() {
			answer, err := client.CreateChatCompletion(deadline(t, 20*time.Second), question("hello"))
			if err != nil {
				t.Error(err)
			} else if text := answer.Choices[0].Message.GetContent(); text != hello {
				t.Errorf("got %q", text)
			}
		})
	}
	group.Wait()
}

func TestModels(t *testing.T) {
	client := loquiv1.NewModelServiceClient(dial(t))
	model, err := client.GetModel(deadline(t, 20*time.Second), &loquiv1.GetModelRequest{Model: "hello"})
	if err != nil {
		t.Fatal(err)
	}
	if model.State != loquiv1.ModelState_MODEL_STATE_READY {
		t.Errorf("got %v", model.State)
	}
	_, err = client.GetModel(deadline(t, 20*time.Second), &loquiv1.GetModelRequest{Model: "helo"})
	if status.Code(err) != codes.NotFound {
		t.Errorf("got %v", err)
	}
}

func TestHealth(t *testing.T) {
	answer, err := healthpb.NewHealthClient(dial(t)).Check(deadline(t, 20*time.Second), &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if answer.Status != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("got %v", answer.Status)
	}
}
