/**
 * The JSON codec against JSON.stringify, JSON.parse and protobuf-es on the same
 * data: a streamed chat chunk out, chat requests of about 2 kB in, vectors of
 * 1,024 numbers out. The rounds of all candidates are interleaved; ratios are
 * of medians.
 *
 *     npx node bench/codec.ts
 */
import { create, fromJsonString, toJsonString } from "@bufbuild/protobuf";
import {
  ChatCompletionChunkSchema,
  ChatDeltaSchema,
  CreateChatCompletionRequestSchema,
} from "../gen/loqui/v1/chat_pb.ts";
import { CreateEmbeddingsResponseSchema } from "../gen/loqui/v1/embedding_pb.ts";
import { jsonCodec } from "../src/codec/codec.ts";
import { parseJson } from "../src/codec/json-source.ts";

const rounds = 15;
const roundMs = 20;

/** One piece of work; returns something that depends on it. */
type Work = (i: number) => unknown;

/** Joined text is flat only when it is written: everyone pays for that here. */
const buffer = Buffer.alloc(1 << 20);
const write = (text: string) => buffer.write(text);

/** Prints ns per piece of work and how often the codec's time that is. */
function compare(title: string, candidates: Record<string, Work>): void {
  const times = new Map(Object.keys(candidates).map((name) => [name, [] as number[]]));
  for (let round = -2; round < rounds; round++) {
    for (const [name, work] of Object.entries(candidates)) {
      const ns = measure(work);
      if (round >= 0) times.get(name)?.push(ns);
    }
  }
  const medians = [...times].map(
    ([name, all]) => [name, all.sort((a, b) => a - b)[rounds >> 1] ?? Number.NaN] as const,
  );
  const own = medians[0]?.[1] ?? Number.NaN;
  console.log(title);
  for (const [name, ns] of medians) {
    console.log(
      `  ${name.padEnd(28)} ${ns.toFixed(0).padStart(8)} ns   ${(ns / own).toFixed(2).padStart(6)} × the codec`,
    );
  }
}

function measure(work: Work): number {
  const start = performance.now();
  let count = 0;
  let elapsed = 0;
  while (elapsed < roundMs) {
    for (let i = 0; i < 50; i++) sink = work(count++);
    elapsed = performance.now() - start;
  }
  return (elapsed / count) * 1e6;
}

let sink: unknown;

const pieces = [" the", " quick", " brown", " fox", "\n\n", ' "so"', " über", ",", " jumps", " over"];
const piece = (i: number) => pieces[i % pieces.length] ?? "";

const chunkCodec = jsonCodec(ChatCompletionChunkSchema);
const delta = create(ChatDeltaSchema);
const chunk = create(ChatCompletionChunkSchema, {
  id: "chatcmpl-7f3b0c9a5d6e4f218b7c0d1e",
  object: "chat.completion.chunk",
  created: 1795212345,
  model: "Qwen/Qwen3-4B-Instruct-2507",
  choices: [{ index: 0, delta }],
  systemFingerprint: "fp_0123456789",
});
delta.content = piece(0);
const tree = JSON.parse(chunkCodec.encode(chunk));

compare(`a streamed chunk out, ${chunkCodec.encode(chunk).length} bytes`, {
  "codec.encode": (i) => {
    delta.content = piece(i);
    return write(chunkCodec.encode(chunk));
  },
  "JSON.stringify of its tree": (i) => {
    tree.choices[0].delta.content = piece(i);
    return write(JSON.stringify(tree));
  },
  "protobuf-es toJsonString": (i) => {
    delta.content = piece(i);
    return write(toJsonString(ChatCompletionChunkSchema, chunk));
  },
});

const plain = {
  model: "Qwen/Qwen3-4B-Instruct-2507",
  messages: [
    { role: "system", content: "You are a helpful assistant. Answer in one sentence. ".repeat(6) },
    { role: "user", content: [{ type: "text", text: "What is the weather like in Zürich, and why? ".repeat(8) }] },
    {
      role: "assistant",
      content: null,
      tool_calls: [{ id: "call_1", type: "function", function: { name: "weather", arguments: '{"city":"Zürich"}' } }],
    },
    { role: "tool", tool_call_id: "call_1", content: '{"temperature": 21.5, "sky": "clear"}'.repeat(6) },
    { role: "assistant", content: "It is 21.5 °C and clear: high pressure over the Alps. ".repeat(6) },
    { role: "user", content: "And tomorrow?\nAnswer in three words." },
  ],
  temperature: 0.7,
  top_p: 0.95,
  max_tokens: 512,
  seed: 42,
  stop: ["\n\n", "END"],
  stream: true,
  stream_options: { include_usage: true },
  logit_bias: { "50256": -100 },
  metadata: { session: "a1b2c3", tenant: "x" },
};
const tool = (name: string) => ({
  type: "function",
  function: {
    name,
    description: "Looks it up.",
    parameters: {
      type: "object",
      properties: { city: { type: "string" }, days: { type: "integer" } },
      required: ["city"],
    },
  },
});
const withTools = {
  ...plain,
  messages: plain.messages.slice(1, 4),
  tools: ["weather", "tide", "moon", "pollen"].map(tool),
};

const requestCodec = jsonCodec(CreateChatCompletionRequestSchema);
for (const [title, body] of [
  ["a chat request in", plain],
  ["a chat request with raw JSON (tools) in", withTools],
] as const) {
  const text = JSON.stringify(body);
  const bytes = Buffer.from(text);
  const protoJson = toJsonString(
    CreateChatCompletionRequestSchema,
    requestCodec.decode(parseJson(text), "strict").message,
  );
  compare(`${title}, ${bytes.length} bytes`, {
    "parseJson and codec.decode": () => requestCodec.decode(parseJson(bytes), "lenient"),
    "JSON.parse of the same bytes": () => JSON.parse(bytes.toString("utf8")),
    "protobuf-es fromJsonString": () => fromJsonString(CreateChatCompletionRequestSchema, protoJson),
  });
}

const vector = Array.from({ length: 1024 }, (_, i) => Math.fround(Math.sin(i + 1)));
const embeddings = create(CreateEmbeddingsResponseSchema, {
  object: "list",
  data: [{ object: "embedding", embedding: { case: "values", value: { values: vector } } }],
});
const embeddingsCodec = jsonCodec(CreateEmbeddingsResponseSchema);
const embeddingsTree = JSON.parse(embeddingsCodec.encode(embeddings));

compare("a vector of 1,024 floats out", {
  "codec.encode": () => write(embeddingsCodec.encode(embeddings)),
  "JSON.stringify of its tree": () => write(JSON.stringify(embeddingsTree)),
  "protobuf-es toJsonString": () => write(toJsonString(CreateEmbeddingsResponseSchema, embeddings)),
});
if (sink === undefined) throw new Error("nothing was measured");
