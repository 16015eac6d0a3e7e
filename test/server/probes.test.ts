import { afterEach, beforeEach, expect, test } from "vitest";
import { startTestServer, type TestServer } from "./test-server.ts";

let server: TestServer;

beforeEach(async () => {
  server = await startTestServer({ about: { name: "loqui", version: "1.2.3", openapi: "/openapi.json" } });
});
afterEach(() => server.close({ force: true }));

const ok = { status: "ok" };

test.each([
  ["/livez", undefined, 200, ok],
  ["/readyz", undefined, 200, ok],
  ["/health", undefined, 200, ok],
  ["/livez", "loading loqui/tiny-chat", 200, ok],
  ["/readyz", "loading loqui/tiny-chat", 503, { status: "not ready", reason: "loading loqui/tiny-chat" }],
  [
    "/health",
    "loading loqui/tiny-chat",
    503,
    { error: { message: "loading loqui/tiny-chat", type: "unavailable_error", code: 503 } },
  ],
  ["/", undefined, 200, { name: "loqui", version: "1.2.3", openapi: "/openapi.json" }],
  ["/?x=1", "starting", 200, { name: "loqui", version: "1.2.3", openapi: "/openapi.json" }],
])("GET %s while %s", async (path, reason, status, body) => {
  if (reason !== undefined) server.health.setNotReady(reason);
  const response = await fetch(server.url + path);
  expect(response.status).toBe(status);
  expect(response.headers.get("content-type")).toBe("application/json");
  expect(response.headers.get("cache-control")).toBe("no-store");
  expect(await response.json()).toEqual(body);
});

test("HEAD has the headers only", async () => {
  const response = await fetch(`${server.url}/readyz`, { method: "HEAD" });
  expect(response.status).toBe(200);
  expect(response.headers.get("content-length")).toBe("15");
  expect(await response.text()).toBe("");
});

test("other methods are 405", async () => {
  const response = await fetch(`${server.url}/livez`, { method: "POST", body: "x" });
  expect(response.status).toBe(405);
  expect(response.headers.get("allow")).toBe("GET, HEAD");
  expect(await response.json()).toEqual({
    error: {
      message: "/livez takes GET and HEAD, not POST",
      type: "invalid_request_error",
      param: null,
      code: "method_not_allowed",
    },
  });
});

test("other paths go to REST", async () => {
  expect((await fetch(`${server.url}/livez/more`)).status).toBe(404);
});
