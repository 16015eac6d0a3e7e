import { create, type MessageShape, toBinary } from "@bufbuild/protobuf";
import { expect, it } from "vitest";
import {
  type StreamEmbeddingsRequest,
  StreamEmbeddingsRequestSchema,
  type StreamEmbeddingsResponse,
  StreamEmbeddingsResponseSchema,
} from "../../gen/loqui/v1/embedding_pb.ts";
import type { EmbedItemsRequestSchema } from "../../gen/loqui/worker/v1/worker_pb.ts";
import { encodedMessage } from "../../src/encoded-message.ts";
import { LoquiError } from "../../src/errors.ts";
import type { Gateway } from "../../src/gateway/gateway.ts";
import type { RequestContext, RequestRecord } from "../../src/request-context.ts";
import { createEmbeddingStream } from "../../src/services/embedding-stream.ts";

type Group = MessageShape<typeof EmbedItemsRequestSchema>;

/** A gateway that answers an item with a vector of its text's length; `before` may throw before it does. */
function gatewayThat(before: (text: string, group: readonly string[]) => void) {
  const groups: string[][] = [];
  const gateway = {
    async *call(_: unknown, request: Group, context: RequestContext) {
      const texts = request.items.map(({ input }) => (input.case === "text" ? input.value : ""));
      if (texts.length > 0) groups.push(texts);
      context.record.promptTokens = texts.length;
      await new Promise((resolve) => setTimeout(resolve, 2));
      for (const [at, text] of texts.entries()) {
        before(text, texts);
        const id = request.items[at]?.id ?? "";
        const result = { case: "values" as const, value: { values: [text.length] } };
        yield create(StreamEmbeddingsResponseSchema, { id, result, promptTokens: 1 });
      }
    },
  } as unknown as Gateway;
  return { gateway, groups };
}

async function run(gateway: Gateway, texts: readonly string[], signal = new AbortController().signal) {
  const record = {} as RequestRecord;
  async function* requests(): AsyncGenerator<StreamEmbeddingsRequest> {
    yield create(StreamEmbeddingsRequestSchema, { message: { case: "options", value: { model: "m" } } });
    for (const text of texts) {
      const item = { id: text, input: { case: "text" as const, value: text } };
      yield create(StreamEmbeddingsRequestSchema, { message: { case: "item", value: item } });
    }
  }
  const answers: StreamEmbeddingsResponse[] = [];
  const context = { record, signal } as RequestContext;
  for await (const answer of createEmbeddingStream(gateway)(requests(), context)) answers.push(answer);
  return { answers: new Map(answers.map(({ id, result }) => [id, result])), count: answers.length, record };
}

const texts = Array.from({ length: 100 }, (_, at) => `text ${at}`);

it("sends what has come in groups, and adds up what they took", async () => {
  const { gateway, groups } = gatewayThat(() => {});
  const { count, answers, record } = await run(gateway, texts);
  expect([count, answers.size]).toEqual([100, 100]);
  expect(groups.flat().sort()).toEqual([...texts].sort());
  expect(Math.max(...groups.map((group) => group.length))).toBe(32);
  expect(record).toMatchObject({ promptTokens: 100, completionTokens: 0 });
});

it.each(["worker_crashed", "internal", "input_quarantined"] as const)(
  "lets the item that is at fault fail alone (%s)",
  async (kind) => {
    const { gateway, groups } = gatewayThat((text) => {
      if (text === "text 40") throw new LoquiError(kind, "it died");
    });
    const { count, answers } = await run(gateway, texts);
    expect([count, answers.size]).toEqual([100, 100]);
    for (const [id, result] of answers) expect(result.case, id).toBe(id === "text 40" ? "error" : "values");
    expect(answers.get("text 40")?.value).toMatchObject({ message: "it died", detail: { kind } });
    // What had its answer before is not asked again.
    expect(groups.flat().filter((text) => text === "text 0")).toHaveLength(1);
  },
);

it("waits where the queue is full", async () => {
  let refusals = 3;
  const { gateway } = gatewayThat(() => {
    refusals -= 1;
    if (refusals >= 0) throw new LoquiError("overloaded", "full");
  });
  const { answers } = await run(gateway, texts);
  expect([...answers.values()].map((result) => result.case)).toEqual(texts.map(() => "values"));
});

it("ends with what is nobody's fault but the call's", async () => {
  const { gateway } = gatewayThat(() => {
    throw new LoquiError("model_unavailable", "unloaded");
  });
  await expect(run(gateway, texts)).rejects.toMatchObject({ kind: "model_unavailable" });
});

it("stops waiting for a full queue when it is aborted", async () => {
  const { gateway } = gatewayThat(() => {
    throw new LoquiError("overloaded", "full");
  });
  const controller = new AbortController();
  setTimeout(() => controller.abort(new LoquiError("timeout", "late")), 200);
  await expect(run(gateway, texts, controller.signal)).rejects.toMatchObject({ kind: "timeout" });
});

it("sends again what the backend left for later", async () => {
  const groups: number[] = [];
  const gateway = {
    async *call(_: unknown, { items }: Group) {
      if (items.length > 0) groups.push(items.length);
      for (const { id } of items.slice(0, 3)) {
        yield create(StreamEmbeddingsResponseSchema, { id, result: { case: "values", value: { values: [1] } } });
      }
    },
  } as unknown as Gateway;
  const { answers, count } = await run(gateway, texts.slice(0, 8));
  expect([count, answers.size]).toEqual([8, 8]);
  expect([...answers.values()].map(({ case: name }) => name)).toEqual(Array(8).fill("values"));
  expect(groups.reduce((sum, size) => sum + Math.min(size, 3), 0)).toBe(8);
});

it("takes a backend that forgets items for broken, item by item", async () => {
  const gateway = { async *call() {} } as unknown as Gateway;
  const { answers } = await run(gateway, ["a", "b"]);
  expect([...answers.values()].map(({ case: name }) => name)).toEqual(["error", "error"]);
});

/**
 * Sends texts without end and takes `answers` answers; what the stream has read
 * and had answered by then, when it stands still.
 */
async function leftAlone(answers: number, text: string, answer: (id: string) => StreamEmbeddingsResponse | undefined) {
  const counts = { read: 0, answered: 0 };
  const controller = new AbortController();
  const gateway = {
    async *call(_: unknown, { items }: Group) {
      for (const { id } of items) {
        const response = answer(id);
        if (response === undefined) await new Promise(() => {});
        else {
          counts.answered += 1;
          yield response;
        }
      }
    },
  } as unknown as Gateway;
  async function* requests(): AsyncGenerator<StreamEmbeddingsRequest> {
    yield create(StreamEmbeddingsRequestSchema, { message: { case: "options", value: { model: "m" } } });
    for (;;) {
      await new Promise((resolve) => setImmediate(resolve));
      counts.read += 1;
      const item = { id: String(counts.read), input: { case: "text" as const, value: text } };
      yield create(StreamEmbeddingsRequestSchema, { message: { case: "item", value: item } });
    }
  }
  const context = { record: {}, signal: controller.signal } as RequestContext;
  const stream = createEmbeddingStream(gateway)(requests(), context);
  for (let taken = 0; taken < answers; taken += 1) await stream.next();
  // Begins to read, where no answer is ever taken.
  if (answers === 0) stream.next().catch(() => {});
  for (let before = -1; before !== counts.read + counts.answered; ) {
    before = counts.read + counts.answered;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  controller.abort(new LoquiError("cancelled", "gone"));
  return counts;
}

const small = (id: string) => create(StreamEmbeddingsResponseSchema, { id });

it.each([1, 100])("reads 256 items beyond the answers that were taken (%i)", async (taken) => {
  // The last one counts until another is asked for.
  expect((await leftAlone(taken, "a", small)).read).toBe(255 + taken);
});

it("reads 4 MiB of text, as JavaScript keeps it", async () => {
  expect(await leftAlone(0, "x".repeat(64 * 1024), () => undefined)).toEqual({ read: 32, answered: 0 });
});

it("takes 4 MiB of answers from the backend, and one of each group", async () => {
  const bytes = toBinary(
    StreamEmbeddingsResponseSchema,
    create(StreamEmbeddingsResponseSchema, { result: { case: "packed", value: new Uint8Array(1024 * 1024) } }),
  );
  const { answered } = await leftAlone(1, "a", () => encodedMessage(StreamEmbeddingsResponseSchema, bytes));
  expect(answered - 1).toBeGreaterThanOrEqual(4);
  expect(answered - 1).toBeLessThanOrEqual(4 + 2);
  expect((await leftAlone(1, "a", small)).answered - 1).toBeGreaterThanOrEqual(64);
});
