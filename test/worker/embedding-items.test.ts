import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { expect, it } from "vitest";
import {
  CreateEmbeddingsRequestSchema,
  CreateEmbeddingsResponseSchema,
  EmbeddingService,
  StreamEmbeddingsResponseSchema,
} from "../../gen/loqui/v1/embedding_pb.ts";
import { EmbeddingItemService, EmbedItemsRequestSchema } from "../../gen/loqui/worker/v1/worker_pb.ts";
import type { TextEngine } from "../../src/engines/text-engine.ts";
import { methodName } from "../../src/method-name.ts";
import { createTextBatcher } from "../../src/worker/embedding-batches.ts";
import { createEmbeddingMethods } from "../../src/worker/embedding-service.ts";
import { fakeCall, lastOf } from "./fake-call.ts";

/** Numbers of a token's vector: 64 tokens have 1 MiB. */
const width = 4096;
const tokensOfMib = 64;

/** An engine of 3,000 tokens whose vectors are those of its tokens' ids; `counts` are the rows of its batches. */
function setup() {
  const counts: number[] = [];
  const fill = (row: Uint32Array) => Float32Array.from({ length: (row.length - 1) * width }, () => row[0] ?? 0);
  const embed = async (rows: readonly Uint32Array[]) => Float32Array.from(rows.flatMap((row) => [row[0] ?? 0, 1]));
  const engine = {
    info: { vocabularySize: 100 },
    contextLength: 3_000,
    width: 2,
    prompts: new Map(),
    defaultPrompt: undefined,
    embed,
    tokenHeads: {
      outputs: new Set(["multivector"]),
      multivectorWidth: width,
      async embed(rows: readonly Uint32Array[]) {
        counts.push(rows.length);
        return { vectors: await embed(rows), outputs: rows.map((row) => ({ multivector: fill(row) })) };
      },
    },
  } as unknown as TextEngine;
  const batcher = createTextBatcher(engine, { batchTokens: 10_000, maxRequests: 10, maxTokens: 100_000 });
  const methods = createEmbeddingMethods({ engine, batcher });
  async function embedItems(lengths: readonly number[]) {
    const init: MessageInitShape<typeof EmbedItemsRequestSchema> = {
      options: { model: "m", returnMultivector: true, normalize: false },
      items: lengths.map((length, at) => ({
        id: String(at),
        input: { case: "tokens", value: { ids: Array(length).fill(at + 1) } },
      })),
    };
    const method = methods.get(methodName(EmbeddingItemService.method.embedItems));
    const result = await method?.(
      toBinary(EmbedItemsRequestSchema, create(EmbedItemsRequestSchema, init)),
      fakeCall(() => {}),
    );
    return lastOf(result).map((bytes) => fromBinary(StreamEmbeddingsResponseSchema, bytes));
  }
  async function createEmbeddings(lengths: readonly number[], returnMultivector: boolean) {
    const lists = lengths.map((length) => ({ ids: Array(length).fill(7) }));
    const request = create(CreateEmbeddingsRequestSchema, {
      model: "m",
      input: { case: "tokenLists", value: { lists } },
      returnMultivector,
    });
    const method = methods.get(methodName(EmbeddingService.method.createEmbeddings));
    const result = await method?.(
      toBinary(CreateEmbeddingsRequestSchema, request),
      fakeCall(() => {}),
    );
    return fromBinary(CreateEmbeddingsResponseSchema, lastOf(result)[0] ?? new Uint8Array());
  }
  return { embedItems, createEmbeddings, counts };
}

it("answers as many items as have 8 MiB of vectors, and one at least", async () => {
  const { embedItems } = setup();
  const mib = tokensOfMib + 1;
  const idsOf = async (lengths: readonly number[]) => (await embedItems(lengths)).map(({ id }) => id);
  expect(await idsOf([mib, mib, 3 * mib, 2 * mib, mib, 1])).toEqual(["0", "1", "2", "3"]);
  expect(await idsOf(Array(9).fill(mib))).toHaveLength(8);
  expect(await idsOf([20 * mib, 2])).toEqual(["0"]);
  expect(await idsOf([1, 1, 1])).toHaveLength(3);
});

it("gives an item whose vectors have more than 32 MiB an error of its own", async () => {
  const { embedItems } = setup();
  const answers = await embedItems([3, 32 * tokensOfMib + 2, 2]);
  expect(answers.map(({ multivector }) => multivector?.count)).toEqual([2, undefined, 1]);
  expect(answers[1]?.result).toMatchObject({
    case: "error",
    value: {
      message: "return_multivector: 2049 vectors of tokens have 33570816 bytes, the maximum is 33554432",
      detail: { kind: "invalid_request", param: "return_multivector" },
    },
  });
  expect(answers[2]?.multivector?.vectors[0]?.values.slice(0, 2)).toEqual([3, 3]);
});

it("refuses a request whose vectors have more together", async () => {
  const { createEmbeddings } = setup();
  const error = await createEmbeddings([16 * tokensOfMib + 1, 16 * tokensOfMib + 2], true).catch((caught) => caught);
  expect(error).toMatchObject({
    kind: "invalid_request",
    message: "return_multivector: 2049 vectors of tokens have 33570816 bytes, the maximum is 33554432",
  });
});

it("keeps vectors of tokens for those alone that want them, also where they share a batch", async () => {
  const { embedItems, createEmbeddings, counts } = setup();
  const first = embedItems([9, 9]);
  const [plain, wanted, items] = await Promise.all([
    createEmbeddings([3, 3], false),
    createEmbeddings([3, 3], true),
    embedItems([4]),
    first,
  ]);
  expect(counts).toContain(4);
  expect(plain.data.map(({ multivector }) => multivector)).toEqual([undefined, undefined]);
  expect(wanted.data.map(({ multivector }) => multivector?.count)).toEqual([2, 2]);
  expect(items.map(({ multivector }) => multivector?.vectors.length)).toEqual([3]);
});
