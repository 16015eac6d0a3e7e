package interop

import (
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestGrpcInterop runs grpc-go's own interop client, one case of
// grpc/doc/interop-test-descriptions.md at a time: those that need no
// credentials.
func TestGrpcInterop(t *testing.T) {
	host, port, err := net.SplitHostPort(strings.TrimPrefix(os.Getenv("LOQUI_TEST_GRPC_URL"), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"empty_unary", "large_unary", "client_streaming", "server_streaming", "ping_pong", "empty_stream",
		"timeout_on_sleeping_server", "cancel_after_begin", "cancel_after_first_response",
		"status_code_and_message", "special_status_message", "custom_metadata",
		"unimplemented_method", "unimplemented_service",
	} {
		t.Run(name, func(t *testing.T) {
			client := exec.CommandContext(
				deadline(t, 60*time.Second),
				"go", "tool", "google.golang.org/grpc/interop/client",
				"--server_host", host, "--server_port", port, "--test_case", name,
			)
			if output, err := client.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, output)
			}
		})
	}
}
