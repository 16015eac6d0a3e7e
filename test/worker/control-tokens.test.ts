import { afterAll, beforeAll, expect, test } from "vitest";
import { markTest, outputFormatOf } from "../../src/worker/chat-output/parser.ts";
import { type RunningLoqui, startWithScripts } from "../support/running-loqui.ts";

const tools = [{ type: "function", function: { name: "f", parameters: { type: "object" } } }];
/** Shows tools, and knows how to think. */
const template = `{% for tool in tools or [] %}{{ tool | tojson }}<tool_call>{% endfor %}{% for message in messages %}{{ message.content }}{% endfor %}{# <think></think> #}`;

let running: RunningLoqui;
beforeAll(async () => {
  running = await startWithScripts({
    parsed: {
      template,
      controls: ["<think>", "</think>", "<tool_call>", "</tool_call>", "<|noise|>", "<|turn|>"],
      reply: [
        ...["<think>", "Hm", "<|noise|>", "m.", "</think>", "Yes", "<|turn|>", ", sir", "."],
        ...["<tool_call>", '{"name": "f", "arguments": {}}', "</tool_call>"],
      ],
    },
  });
});
afterAll(() => running[Symbol.asyncDispose]());

async function ask(more: object) {
  const response = await fetch(`${running.url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: "parsed", messages: [{ role: "user", content: "a" }], temperature: 0, ...more }),
  });
  const { choices } = (await response.json()) as { choices: { message: object; finish_reason: string }[] };
  return choices[0];
}

test("those that are no marks are no text, and marks are read", async () => {
  expect(await ask({ tools })).toMatchObject({
    finish_reason: "tool_calls",
    message: {
      content: "Yes, sir.",
      reasoning_content: "Hmm.",
      tool_calls: [{ function: { name: "f", arguments: "{}" } }],
    },
  });
  expect(await ask({})).toMatchObject({ message: { content: 'Yes, sir.{"name": "f", "arguments": {}}' } });
});

test("all are seen where the request says so; one that it stops at stops", async () => {
  const { message } = (await ask({ skip_special_tokens: false })) as { message: { content: string } };
  expect(message.content).toContain("Yes<|turn|>, sir.<tool_call>");
  expect(await ask({ stop: ["<|turn|>"] })).toMatchObject({ finish_reason: "stop", message: { content: "Yes" } });
});

test("of every format the marks are seen", () => {
  const marks: Record<string, readonly string[]> = {
    "…[TOOL_CALLS]…[ARGS]…": ["[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"],
    "…[TOOL_CALLS]…": ["[TOOL_CALLS]"],
    "<｜tool▁calls▁begin｜>…```json…": ["<｜tool▁calls▁begin｜>", "<｜tool▁sep｜>", "<｜tool▁calls▁end｜>"],
    "…<start_function_call>…": ["<start_function_call>", "<end_function_call>", "<escape>"],
    "…<|tool_call>…<|channel>…": ["<|tool_call>", "<tool_call|>", '<|"|>', "<|channel>", "<channel|>"],
    "…<|tool_call|>…": ["<|tool_call|>", "<|/tool_call|>"],
    "…<|start_header_id|>…": ["<|python_tag|>"],
    "…<|channel|>…": ["<|start|>", "<|channel|>", "<|constrain|>", "<|message|>", "<|end|>", "<|call|>"],
    "<tool_call>{name}\n<arg_key>…": ["<tool_call>", "<arg_key>", "</arg_value>"],
  };
  for (const [source, names] of Object.entries(marks)) {
    const isMark = markTest(outputFormatOf(source), true);
    expect(names.filter((name) => !isMark(name))).toEqual([]);
    expect(["<|im_start|>", "<|eot_id|>", "<s>", "<pad>"].filter(isMark)).toEqual([]);
  }
});
