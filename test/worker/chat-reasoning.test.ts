import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type RunningLoqui, startWithScripts } from "../support/running-loqui.ts";
import type { Script } from "../support/scripted-model.ts";

const turns = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}";

/** In the manner of the families' own; what a control token is there is one here. */
const scripts: Record<string, Script> = {
  qwen: {
    template: `${turns}<|im_start|>assistant\n{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}`,
    reply: ["<think>", "\nHm", "m.\n", "</think>", "\n\nSo."],
  },
  // The prompt opens the reasoning.
  deepseek: {
    template: `${turns}<｜Assistant｜>{% if thinking %}<think>{% else %}</think>{% endif %}`,
    reply: ["Hmm.", "</think>", "So."],
  },
  gptoss: {
    template: `{# <|channel|> #}${turns}<|start|>assistant`,
    controls: ["<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|return|>", "<|call|>"],
    reply: [
      "<|channel|>",
      "analysis",
      "<|message|>",
      "Hmm.",
      "<|end|>",
      "<|start|>assistant<|channel|>final<|message|>",
      "So.",
    ],
  },
  gemma: {
    template: `{# <|channel> #}${turns}<|turn>model\n`,
    controls: ["<|channel>", "<channel|>"],
    reply: ["<|channel>", "thought\n", "Hmm.", "<channel|>", "So."],
  },
  mistral: {
    template: `{# [THINK] #}${turns}[/INST]`,
    controls: ["[THINK]", "[/THINK]"],
    reply: ["[THINK]", "Hmm.", "[/THINK]", "So."],
  },
  // Its template doesn't say that it thinks.
  unknown: { template: turns, reply: ["<think>", "Hmm.", "</think>", "So."] },
};

let running: RunningLoqui;
beforeAll(async () => {
  running = await startWithScripts(scripts);
});
afterAll(() => running[Symbol.asyncDispose]());

const post = async (path: string, body: object) =>
  fetch(`${running.url}${path}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ messages: [{ role: "user", content: "Why?" }], temperature: 0, ...body }),
  });

interface Said {
  readonly content?: string | null;
  readonly reasoning_content?: string;
  readonly reasoning?: string;
}

async function said(body: object): Promise<Said> {
  const response = await post("/v1/chat/completions", body);
  const { choices } = (await response.json()) as { choices: { message: Said }[] };
  const { content, reasoning_content, reasoning } = choices[0]?.message ?? {};
  expect(reasoning).toBe(reasoning_content);
  return { content: content ?? "", ...(reasoning !== undefined && { reasoning }) };
}

async function streamed(body: object): Promise<Said> {
  const text = await (await post("/v1/chat/completions", { ...body, stream: true })).text();
  const events = text.split("\n\n").filter((event) => event.startsWith("data: {"));
  const deltas = events.flatMap((event) =>
    (JSON.parse(event.slice("data: ".length)) as { choices: { delta: Said }[] }).choices.map(({ delta }) => delta),
  );
  const reasoning = deltas.map((delta) => delta.reasoning_content ?? "").join("");
  expect(deltas.map((delta) => delta.reasoning ?? "").join("")).toBe(reasoning);
  return { content: deltas.map((delta) => delta.content ?? "").join(""), ...(reasoning !== "" && { reasoning }) };
}

const apart: Said = { content: "So.", reasoning: "Hmm." };

describe.each([
  { model: "qwen", whole: "<think>\nHmm.\n</think>\n\nSo." },
  { model: "deepseek", whole: "Hmm.</think>So.", more: { chat_template_kwargs: { thinking: true } } },
  {
    model: "gptoss",
    whole: "<|channel|>analysis<|message|>Hmm.<|end|><|start|>assistant<|channel|>final<|message|>So.",
  },
  { model: "gemma", whole: "<|channel>thought\nHmm.<channel|>So." },
  { model: "mistral", whole: "[THINK]Hmm.[/THINK]So." },
])("$model", ({ model, whole, more = {} }) => {
  test.each([
    { format: undefined, answer: apart, stream: apart },
    { format: "auto", answer: apart, stream: apart },
    { format: "deepseek", answer: apart, stream: apart },
    { format: "deepseek-legacy", answer: apart, stream: { content: whole } },
    { format: "none", answer: { content: whole }, stream: { content: whole } },
  ])("reasoning_format $format", async ({ format, answer, stream }) => {
    const body = { model, ...more, ...(format !== undefined && { reasoning_format: format }) };
    expect(await said(body)).toEqual(answer);
    expect(await streamed(body)).toEqual(stream);
  });
});

test("a model that isn't known to think: only where the request says that it does", async () => {
  const whole = { content: "<think>Hmm.</think>So." };
  expect(await said({ model: "unknown" })).toEqual(whole);
  expect(await said({ model: "unknown", reasoning_format: "auto" })).toEqual(whole);
  expect(await said({ model: "unknown", reasoning_format: "deepseek" })).toEqual(apart);
  expect(await said({ model: "unknown", reasoning_format: "deepseek-legacy" })).toEqual(apart);
  expect(await streamed({ model: "unknown", reasoning_format: "deepseek" })).toEqual(apart);
});

test.each([
  { model: "qwen", body: { chat_template_kwargs: { enable_thinking: false } }, end: "<think>\n\n</think>\n\n" },
  { model: "qwen", body: { chat_template_kwargs: { enable_thinking: true } }, end: "assistant\n" },
  { model: "qwen", body: { reasoning_effort: "none" }, end: "<think>\n\n</think>\n\n" },
  { model: "qwen", body: { reasoning_effort: "high" }, end: "assistant\n" },
  { model: "deepseek", body: { chat_template_kwargs: { thinking: true } }, end: "<think>" },
  { model: "deepseek", body: { reasoning_effort: "high" }, end: "<think>" },
  { model: "deepseek", body: {}, end: "</think>" },
])("$model with $body: its prompt", async ({ model, body, end }) => {
  const response = await post("/apply-template", { model, ...body });
  expect(((await response.json()) as { prompt: string }).prompt).toMatch(new RegExp(`${end}$`));
});
