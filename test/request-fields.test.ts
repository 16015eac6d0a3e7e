/**
 * Holds src/worker/request-fields.ts to what it promises: for each field of a
 * request a request that sets it is sent to a server with a local model, and the
 * answer tells what became of it. A new field needs a row there and a sample here.
 */
import { existsSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import type { DescField, DescMessage } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  ChatRole,
  ChatService,
  CreateChatCompletionRequestSchema,
  CreateCompletionRequestSchema,
} from "../gen/loqui/v1/chat_pb.ts";
import {
  CreateEmbeddingsRequestSchema,
  EmbedRequestSchema,
  EmbedSparseRequestSchema,
  SimilarityRequestSchema,
} from "../gen/loqui/v1/embedding_pb.ts";
import { RerankRequestSchema, RerankTextsRequestSchema, ScoreRequestSchema } from "../gen/loqui/v1/rerank_pb.ts";
import { jsonPath } from "../src/codec/path.ts";
import { treatmentOf } from "../src/worker/ignored-fields.ts";
import { requestFields, type Treatment } from "../src/worker/request-fields.ts";
import { startWithEncoders } from "./support/running-encoders.ts";
import { type RunningLoqui, startWithScripts } from "./support/running-loqui.ts";
import { transports } from "./support/transports.ts";

/** Shows tools and names, and is told of thinking and wordiness. */
const template = `{% for tool in tools or [] %}{{ tool | tojson }} <tool_call></tool_call>
{% endfor %}{{ reasoning_effort }}{{ verbosity }}{% for message in messages %}<|im_start|>{{ message.role }} {{ message.name }}
{% if message.reasoning_content %}<think>{{ message.reasoning_content }}</think>{% endif %}{{ message.content }}{{ message.tool_call_id }}{% for call in message.tool_calls or [] %}{{ call | tojson }}{% endfor %}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% if enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}{% endif %}`;

let running: RunningLoqui;
beforeAll(async () => {
  running = await startWithScripts({
    m: {
      reply: ["<think>", "Hm", "</think>", "a", "b", "c"],
      template,
      controls: ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"],
    },
    bare: { reply: ["a"] },
  });
});
afterAll(() => running[Symbol.asyncDispose]());

const user = { role: "user", content: "Hi" };
const tool = { type: "function", function: { name: "f", parameters: { type: "object", properties: {} } } };
const custom = { type: "custom", custom: { name: "c" } };
const call = { id: "abc123def", type: "function", function: { name: "f", arguments: "{}" } };
const said = (message: object) => ({ messages: [user, { role: "assistant", content: "a", ...message }, user] });
const part = (value: object) => ({ messages: [{ role: "user", content: [value] }] });
const form = (json_schema: object) => ({ response_format: { type: "json_schema", json_schema } });
const schema = { type: "object", properties: { a: { type: "boolean" } } };
const allowed = (mode: string, ...tools: object[]) => ({
  tools: [tool],
  tool_choice: { type: "allowed_tools", allowed_tools: { mode, tools } },
});
const named = { type: "function", function: { name: "f" } };

/** What both requests take, by the field's name. */
const generationSamples: Readonly<Record<string, object>> = {
  model: {},
  stream: { stream: true },
  temperature: { temperature: 0.5 },
  max_tokens: { max_tokens: 3 },
  top_p: { top_p: 0.5 },
  stop: { stop: ["x"] },
  n: { n: 2 },
  seed: { seed: 1 },
  stream_options: { stream: true, stream_options: { include_usage: true } },
  frequency_penalty: { frequency_penalty: 0.5 },
  presence_penalty: { presence_penalty: 0.5 },
  logit_bias: { logit_bias: { 65: 1 } },
  user: { user: "u" },
  top_k: { top_k: 5 },
  min_p: { min_p: 0.5 },
  typical_p: { typical_p: 0.5 },
  repeat_penalty: { repeat_penalty: 1.5 },
  repeat_last_n: { repeat_last_n: 5 },
  dry_multiplier: { dry_multiplier: 0.5 },
  dry_base: { dry_multiplier: 0.5, dry_base: 2 },
  dry_allowed_length: { dry_multiplier: 0.5, dry_allowed_length: 3 },
  dry_penalty_last_n: { dry_multiplier: 0.5, dry_penalty_last_n: 30 },
  dry_sequence_breakers: { dry_multiplier: 0.5, dry_sequence_breakers: ["."] },
  xtc_probability: { xtc_probability: 0.5 },
  xtc_threshold: { xtc_probability: 0.5, xtc_threshold: 0.2 },
  ignore_eos: { ignore_eos: true },
  min_tokens: { min_tokens: 2 },
  stop_token_ids: { stop_token_ids: [65] },
  include_stop_str_in_output: { include_stop_str_in_output: true },
  skip_special_tokens: { skip_special_tokens: false },
  response_format: form({ name: "s", schema }),
  grammar: { grammar: 'root ::= "a" [b-c]*' },
  json_schema: { json_schema: schema },
  guided_regex: { guided_regex: "[ab]+" },
  guided_choice: { guided_choice: ["a", "b"] },
  structured_outputs: { structured_outputs: { json: schema } },
  cache_prompt: { cache_prompt: false },
  cache_salt: { cache_salt: "s" },
  priority: { priority: 1 },
  timings_per_token: { stream: true, timings_per_token: true },
  return_progress: { stream: true, return_progress: true },
  extra: { extra_member: 1 },
};

/** What the requests for embeddings in TEI's shape take, by the field's name. */
const teiSamples: Readonly<Record<string, object>> = {
  model: { model: "e" },
  inputs: { inputs: "a" },
  truncate: { truncate: true },
  truncation_direction: { truncate: true, truncation_direction: "Left" },
  prompt_name: { prompt_name: "query" },
};
const compared = { source_sentence: "a", sentences: ["b", "c"] };

/** The members of a request, beside the base's, that set a field. */
const samples: Readonly<Record<string, Readonly<Record<string, object>>>> = {
  CreateChatCompletionRequest: {
    ...generationSamples,
    messages: {},
    max_completion_tokens: { max_completion_tokens: 3 },
    tools: { tools: [tool] },
    tool_choice: { tools: [tool], tool_choice: "auto" },
    reasoning_effort: { reasoning_effort: "low" },
    logprobs: { logprobs: true },
    top_logprobs: { logprobs: true, top_logprobs: 2 },
    parallel_tool_calls: { tools: [tool], parallel_tool_calls: false },
    safety_identifier: { safety_identifier: "s" },
    metadata: { metadata: { a: "b" } },
    store: { store: true },
    service_tier: { service_tier: "flex" },
    modalities: { modalities: ["text", "audio"] },
    audio: { audio: { voice: "alloy", format: "wav" } },
    prediction: { prediction: { type: "content", content: "abc" } },
    web_search_options: { web_search_options: {} },
    verbosity: { verbosity: "low" },
    prompt_cache_key: { prompt_cache_key: "k" },
    prompt_cache_retention: { prompt_cache_retention: "24h" },
    prompt_cache_options: { prompt_cache_options: { ttl: "30m" } },
    moderation: { moderation: { model: "m" } },
    functions: { functions: [tool.function] },
    function_call: { functions: [tool.function], function_call: { name: "f" } },
    chat_template_kwargs: { chat_template_kwargs: { enable_thinking: false } },
    add_generation_prompt: { add_generation_prompt: false },
    continue_final_message: {
      messages: [user, { role: "assistant", content: "a" }],
      add_generation_prompt: false,
      continue_final_message: true,
    },
    reasoning_format: { reasoning_format: "none" },
    thinking_budget_tokens: { thinking_budget_tokens: 1 },
    retrieval: { retrieval: { query: "q" } },
  },
  CreateCompletionRequest: {
    ...generationSamples,
    prompt_text: { prompt: "a" },
    prompt_texts: { prompt: ["a", "b"] },
    prompt_tokens: { prompt: [65, 66] },
    prompt_token_lists: { prompt: [[65], [66]] },
    logprobs: { logprobs: 2 },
    suffix: { suffix: "b" },
    echo: { echo: true },
    best_of: { best_of: 2 },
  },
  CreateEmbeddingsRequest: {
    model: {},
    text: { input: "a" },
    texts: { input: ["a", "b"] },
    tokens: { input: [7, 8] },
    token_lists: { input: [[7], [8]] },
    encoding_format: { encoding_format: "base64" },
    dimensions: { dimensions: 3 },
    user: { user: "u" },
    input_type: { input_type: "search_query" },
    prompt_name: { prompt_name: "query" },
    instruction: { instruction: "Find." },
    truncate: { truncate: "END" },
    normalize: { normalize: false },
    return_sparse: { return_sparse: true },
    return_multivector: { return_multivector: true },
  },
  EmbedRequest: { ...teiSamples, normalize: { normalize: false }, dimensions: { dimensions: 3 } },
  EmbedSparseRequest: teiSamples,
  EmbedInputs: {
    text: { inputs: "a" },
    texts: { inputs: ["a", "b"] },
    tokens: { inputs: [7, 8] },
    token_lists: { inputs: [[7], [8]] },
  },
  SimilarityRequest: {
    model: { model: "e" },
    inputs: { inputs: compared },
    parameters: { parameters: {} },
  },
  SimilarityInputs: { source_sentence: { inputs: compared }, sentences: { inputs: compared } },
  SimilarityParameters: {
    truncate: { parameters: { truncate: true } },
    truncation_direction: { parameters: { truncate: true, truncation_direction: "left" } },
    prompt_name: { parameters: { prompt_name: "query" } },
  },
  Texts: { texts: { prompt: ["a", "b"] } },
  TokenIds: { ids: { prompt: [65, 66] } },
  TokenIdLists: { lists: { prompt: [[65], [66]] } },
  StreamOptions: {
    include_usage: { stream: true, stream_options: { include_usage: true } },
    include_obfuscation: { stream: true, stream_options: { include_obfuscation: true } },
    continuous_usage_stats: { stream: true, stream_options: { include_usage: true, continuous_usage_stats: true } },
  },
  ChatMessage: {
    role: said({}),
    content: said({}),
    name: said({ name: "Ada" }),
    tool_calls: said({ tool_calls: [call] }),
    tool_call_id: { messages: [user, { role: "tool", tool_call_id: "abc123def", content: "a" }] },
    reasoning_content: said({ reasoning_content: "Hm" }),
    refusal: said({ content: null, refusal: "No" }),
    audio: said({ audio: { id: "a" } }),
    function_call: said({ function_call: { name: "f", arguments: "{}" } }),
    annotations: said({
      annotations: [{ type: "url_citation", url_citation: { start_index: 0, end_index: 1, url: "u", title: "t" } }],
    }),
    extra: said({ extra_member: 1 }),
  },
  MessageContent: { text: said({}), parts: part({ type: "text", text: "a" }) },
  ContentParts: { parts: part({ type: "text", text: "a" }) },
  ContentPart: {
    text: part({ type: "text", text: "a" }),
    image_url: part({ type: "image_url", image_url: { url: "data:image/png;base64,AAAA" } }),
    input_audio: part({ type: "input_audio", input_audio: { data: "AAAA", format: "wav" } }),
    file: part({ type: "file", file: { file_data: "AAAA" } }),
    refusal: said({ content: [{ type: "refusal", refusal: "No" }] }),
    prompt_cache_breakpoint: part({ type: "text", text: "a", prompt_cache_breakpoint: { mode: "explicit" } }),
    extra: part({ type: "text", text: "a", extra_member: 1 }),
  },
  Tool: { function: { tools: [tool] }, custom: { tools: [custom] } },
  FunctionDefinition: {
    name: { tools: [tool] },
    description: { tools: [{ ...tool, function: { ...tool.function, description: "d" } }] },
    parameters: { tools: [tool] },
    strict: { tools: [{ ...tool, function: { ...tool.function, strict: true } }] },
  },
  ToolChoice: { mode: { tools: [tool], tool_choice: "auto" }, selection: allowed("auto", named) },
  ToolSelection: {
    function: { tools: [tool], tool_choice: named },
    custom: { tools: [tool], tool_choice: custom },
    allowed_tools: allowed("auto", named),
  },
  ToolName: { name: allowed("auto", named) },
  AllowedTools: { mode: allowed("auto", named), tools: allowed("auto", named) },
  ToolReference: { function: allowed("auto", named), custom: allowed("auto", custom) },
  ToolCall: {
    id: said({ tool_calls: [call] }),
    function: said({ tool_calls: [call] }),
    custom: said({ tool_calls: [{ id: "a", type: "custom", custom: { name: "c", input: "i" } }] }),
    extra: said({ tool_calls: [{ ...call, extra_member: 1 }] }),
  },
  FunctionCall: { name: said({ tool_calls: [call] }), arguments: said({ tool_calls: [call] }) },
  FunctionCallChoice: {
    mode: { functions: [tool.function], function_call: "none" },
    function: { functions: [tool.function], function_call: { name: "f" } },
  },
  ResponseFormat: {
    text: { response_format: { type: "text" } },
    json_object: { response_format: { type: "json_object" } },
    json_schema: form({ name: "s", schema }),
  },
  ResponseFormatJsonObject: { schema: { response_format: { type: "json_object", schema } } },
  ResponseFormatJsonSchema: { json_schema: form({ name: "s", schema }) },
  NamedJsonSchema: {
    name: form({ name: "s", schema }),
    description: form({ name: "s", schema, description: "d" }),
    schema: form({ name: "s", schema }),
    strict: form({ name: "s", schema: { ...schema, required: ["a"], additionalProperties: false }, strict: true }),
  },
  RerankRequest: {
    model: {},
    query: { query: "b" },
    documents: { documents: ["b", "c"] },
    top_n: { top_n: 1 },
    return_documents: { return_documents: true },
    max_tokens_per_doc: { max_tokens_per_doc: 1 },
    rank_fields: { rank_fields: ["text"] },
    instruction: { instruction: "i" },
    raw_scores: { raw_scores: true },
  },
  RerankDocument: { text: { documents: ["b"] }, object: { documents: [{ text: "b" }] } },
  RerankDocumentObject: {
    text: { documents: [{ text: "b" }] },
    other_members: { documents: [{ text: "b", title: "c" }], rank_fields: ["title"] },
  },
  RerankTextsRequest: {
    model: { model: "m" },
    query: { query: "b" },
    texts: { texts: ["b", "c"] },
    raw_scores: { raw_scores: true },
    return_text: { return_text: true },
    truncate: { truncate: true },
    truncation_direction: { truncate: true, truncation_direction: "Left" },
  },
  ScoreRequest: {
    model: {},
    text_1: { text_1: ["a"] },
    text_2: { text_2: ["b", "c"] },
    truncate_prompt_tokens: { truncate_prompt_tokens: 8 },
    raw_scores: { raw_scores: true },
  },
  StructuredOutputs: {
    json: { structured_outputs: { json: schema } },
    regex: { structured_outputs: { regex: "[ab]+" } },
    choice: { structured_outputs: { choice: ["a", "b"] } },
    grammar: { structured_outputs: { grammar: 'root ::= "a"' } },
    json_object: { structured_outputs: { json_object: true } },
  },
};

/** The messages of a request, as far as they are honoured. */
function messagesOf(root: DescMessage, seen = new Set<DescMessage>()): Set<DescMessage> {
  seen.add(root);
  for (const field of root.fields) {
    const kind = treatmentOf(field)?.kind;
    if ((kind !== "honoured" && kind !== "shown") || field.message === undefined || seen.has(field.message)) continue;
    messagesOf(field.message, seen);
  }
  return seen;
}

const chatMessages = messagesOf(CreateChatCompletionRequestSchema);
const completionMessages = messagesOf(CreateCompletionRequestSchema);
const embeddingMessages = messagesOf(CreateEmbeddingsRequestSchema);
const embedMessages = messagesOf(EmbedRequestSchema);
const embedSparseMessages = messagesOf(EmbedSparseRequestSchema);
const similarityMessages = messagesOf(SimilarityRequestSchema);
const rerankMessages = messagesOf(RerankRequestSchema);
const rerankTextsMessages = messagesOf(RerankTextsRequestSchema);
const scoreMessages = messagesOf(ScoreRequestSchema);
const allMessages = new Set(
  [
    ...[chatMessages, completionMessages, embeddingMessages],
    ...[embedMessages, embedSparseMessages, similarityMessages],
    ...[rerankMessages, rerankTextsMessages, scoreMessages],
  ].flatMap((set) => [...set]),
);
const fieldsOf = (messages: Iterable<DescMessage>) =>
  [...messages].flatMap((desc) => desc.fields.map((field) => [titleOf(field), field] as const));

function titleOf(field: DescField): string {
  return `${field.parent.name}.${field.name}`;
}

async function post(path: string, body: object, { url } = running) {
  const response = await fetch(`${url}${path}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  return {
    status: response.status,
    ignored: response.headers.get("x-loqui-ignored")?.split(",").map(decodeURIComponent) ?? [],
    text: await response.text(),
  };
}

type Outcome = Awaited<ReturnType<typeof post>>;

/** `sample`: what set the field. A refusal names the field or the one that holds it. */
function expectTreatment(field: DescField, treatment: Treatment | undefined, sample: object, outcome: Outcome): void {
  const { status, ignored, text } = outcome;
  const name = jsonPath([field]) || field.name;
  switch (treatment?.kind) {
    case "honoured":
    case "shown":
    case "variables":
    case "informs":
      expect({ status, ignored, text }).toMatchObject({ status: 200, ignored: [] });
      expect(text).not.toMatch(/^data: \{"error"/m);
      break;
    case "refused":
      expect(status).toBe(400);
      expect(
        [name, ...Object.keys(sample)].some((part) => text.includes(part)),
        text,
      ).toBe(true);
      break;
    case "ignored":
    case "members": {
      const last = treatment.kind === "members" ? "extra_member" : name;
      expect({ status, ignored }).toEqual({ status: 200, ignored: [expect.stringMatching(`^(.*\\.)?${last}$`)] });
      break;
    }
    default:
      throw new Error(`${titleOf(field)} has no row in src/worker/request-fields.ts`);
  }
}

test("the table has a row for each field and no others", () => {
  expect([...requestFields.keys()].sort()).toEqual([...allMessages].map(({ typeName }) => typeName).sort());
  for (const desc of allMessages) {
    const table = requestFields.get(desc.typeName) ?? {};
    expect(Object.keys(table).sort()).toEqual(desc.members.map(({ localName }) => localName).sort());
  }
});

test("each effect has a test that speaks of the field", () => {
  for (const [title, field] of fieldsOf(allMessages)) {
    const treatment = treatmentOf(field);
    if (treatment === undefined || !("test" in treatment)) continue;
    const path = resolve(import.meta.dirname, "..", treatment.test);
    expect(existsSync(path), `${title}: ${treatment.test}`).toBe(true);
    const source = readFileSync(path, "utf8");
    // What is flattened has no name in JSON.
    const speaks = [jsonPath([field]), field.name, field.localName].some((name) => source.includes(name));
    expect(speaks, `${title}: ${treatment.test} doesn't`).toBe(true);
  }
});

/** Asks for what sets a field. */
async function holdToItsRow(title: string, field: DescField, ask: (more: object) => Promise<Outcome>): Promise<void> {
  const sample = samples[field.parent.name]?.[field.name];
  if (sample === undefined) throw new Error(`${title} has no sample`);
  expectTreatment(field, treatmentOf(field), sample, await ask(sample));
}

describe("completions", () => {
  const ask = (more: object) => post("/v1/completions", { model: "m", prompt: "a", max_tokens: 3, ...more });

  test.each(fieldsOf(completionMessages))("%s", (title, field) => holdToItsRow(title, field, ask));
});

describe("reranking", () => {
  let reranking: RunningLoqui;
  beforeAll(async () => {
    reranking = await startWithEncoders({ m: { reranker: "bert" } });
  });
  afterAll(() => reranking[Symbol.asyncDispose]());
  const asking = (path: string, base: object) => (more: object) => post(path, { ...base, ...more }, reranking);
  const rerank = asking("/v1/rerank", { model: "m", query: "a", documents: ["b"] });
  const rerankTexts = asking("/rerank", { query: "a", texts: ["b"] });
  const score = asking("/v1/score", { model: "m", text_1: "a", text_2: "b" });

  test.each(fieldsOf(rerankMessages))("%s", (title, field) => holdToItsRow(title, field, rerank));
  test.each(fieldsOf(rerankTextsMessages))("%s", (title, field) => holdToItsRow(title, field, rerankTexts));
  test.each(fieldsOf(scoreMessages))("%s", (title, field) => holdToItsRow(title, field, score));
});

describe("embeddings", () => {
  let encoders: RunningLoqui;
  beforeAll(async () => {
    const sentenceConfig = { prompts: { query: "Instruct: Find.\nQuery: " }, default_prompt_name: null };
    encoders = await startWithEncoders({ e: { encoder: "xlm-roberta", layout: "mean", heads: true, sentenceConfig } });
  });
  afterAll(() => encoders?.[Symbol.asyncDispose]());
  const asking = (path: string, base: object) => (more: object) => post(path, { ...base, ...more }, encoders);
  const ask = asking("/v1/embeddings", { model: "e", input: "a" });
  const embed = asking("/embed", { inputs: "a" });
  const embedSparse = asking("/embed_sparse", { inputs: "a" });
  const similarity = asking("/similarity", { inputs: compared });

  // What all requests have in common is asked of completions.
  const own = (messages: Iterable<DescMessage>) =>
    fieldsOf([...messages].filter((desc) => !completionMessages.has(desc)));
  test.each(own(embeddingMessages))("%s", (title, field) => holdToItsRow(title, field, ask));
  test.each(own(embedMessages))("%s", (title, field) => holdToItsRow(title, field, embed));
  test.each(own(embedSparseMessages))("%s, of sparse ones", (title, field) => holdToItsRow(title, field, embedSparse));
  test.each(own(similarityMessages))("%s", (title, field) => holdToItsRow(title, field, similarity));

  test("what the schema doesn't know is ignored by name", async () => {
    expect(await ask({ late_chunking: true })).toMatchObject({ status: 200, ignored: ["late_chunking"] });
  });
});

describe("chat", () => {
  const ask = (more: object) => post("/v1/chat/completions", { model: "m", messages: [user], max_tokens: 8, ...more });

  test.each(fieldsOf(chatMessages))("%s", (title, field) => holdToItsRow(title, field, ask));

  test("what the model's template doesn't show is ignored", async () => {
    const names = ["system", "user", "assistant"].map((role) => ({ role, content: "a", name: "n" }));
    const result = { role: "tool", tool_call_id: call.id, content: "a", name: "f" };
    const messages = [...names, { role: "assistant", content: "a", tool_calls: [call] }, result];
    const older = [user, { role: "assistant", content: "a", function_call: call.function }, user];
    expect(await ask({ messages })).toMatchObject({ status: 200, ignored: [] });
    expect(await ask({ messages: older })).toMatchObject({ status: 200, ignored: [] });
    expect(await ask({ model: "bare", messages })).toMatchObject({
      status: 200,
      ignored: [0, 1, 2].map((index) => `messages[${index}].name`),
    });
    expect(await ask({ model: "bare", messages: older })).toMatchObject({ status: 200, ignored: [] });
    const chat_template_kwargs = { enable_thinking: false, "not a name": 1 };
    expect((await ask({ chat_template_kwargs })).ignored).toEqual(['chat_template_kwargs["not a name"]']);
    expect((await ask({ model: "bare", chat_template_kwargs })).ignored).toEqual([
      "chat_template_kwargs.enable_thinking",
      'chat_template_kwargs["not a name"]',
    ]);
  });

  test("what asks for nothing is not reported", async () => {
    const { status, ignored } = await ask({
      store: false,
      stream: true,
      stream_options: { include_obfuscation: false },
      n: 1,
      logprobs: false,
      verbosity: null,
      modalities: ["text"],
      priority: 0,
      typical_p: 1,
      thinking_budget_tokens: -1,
    });
    expect([status, ignored]).toEqual([200, []]);
  });

  test("what the schema doesn't know and what has no effect are listed together, once", async () => {
    const { ignored } = await ask({
      unknown: 1,
      store: true,
      messages: [
        {
          role: "user",
          content: [{ type: "text", text: "a", "b ä": 1, prompt_cache_breakpoint: { mode: "explicit" } }],
        },
      ],
    });
    expect(ignored.sort()).toEqual(
      ["unknown", "store", 'messages[0].content[0]["b ä"]', "messages[0].content[0].prompt_cache_breakpoint"].sort(),
    );
  });
});

describe("over gRPC and Connect", () => {
  const request = {
    model: "m",
    messages: [{ role: ChatRole.USER, content: { content: { case: "text" as const, value: "Hi" } }, extra: '{"a":1}' }],
    store: true,
    extra: '{"b": 2}',
  };
  const expected = ["messages[0].a", "store", "b"].map(encodeURIComponent).sort();

  test.each(transports)(
    "%s: in the response's metadata, streamed or not; refused where the caller is strict",
    async (_, transportTo) => {
      const client = createClient(ChatService, transportTo(running.url));
      const header: string[] = [];
      const onHeader = (headers: Headers) => void header.push(headers.get("x-loqui-ignored") ?? "");
      await client.createChatCompletion(request, { onHeader });
      for await (const _chunk of client.streamChatCompletion(request, { onHeader }));
      expect(header.map((names) => names.split(",").sort())).toEqual([expected, expected]);
      const strict = client.createChatCompletion(request, { headers: { "x-loqui-strict": "1" } });
      await expect(strict).rejects.toThrow(/messages\[0\]\.a, store, b: without effect on this model|store/);
    },
  );
});

test("a strict caller's field without effect is refused by name over REST", async () => {
  const response = await fetch(`${running.url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json", "x-loqui-strict": "1" },
    body: JSON.stringify({ model: "m", messages: [user], store: true }),
  });
  expect(response.status).toBe(400);
  expect(await response.json()).toMatchObject({ error: { param: "store", code: "unsupported" } });
});
