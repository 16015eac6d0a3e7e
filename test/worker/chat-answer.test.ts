import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { CreateChatCompletionRequestSchema } from "../../gen/loqui/v1/chat_pb.ts";
import { createChatAnswer } from "../../src/worker/chat-answer.ts";
import { outputFormatOf } from "../../src/worker/chat-output/parser.ts";
import { createTokenTrail } from "../../src/worker/logprobs.ts";

test("of reasoning and arguments no log-probabilities are kept", () => {
  const trail = createTokenTrail({ tokenBytes: () => Buffer.from("x") });
  const answer = createChatAnswer({
    request: create(CreateChatCompletionRequestSchema, { logprobs: true }),
    format: outputFormatOf("<think></think><tool_call>"),
    prompt: "",
    tools: { names: ["f"], has: () => true, parameterType: () => undefined },
    hasForm: false,
    asFunction: false,
    streamed: true,
    parallel: true,
    trail,
  });
  let said = "";
  let most = 0;
  const push = (text: string) => {
    trail.push(0, { token: 0, logprob: -1, top: [] }, text);
    for (const { logprobs } of answer.push(text)) {
      said += logprobs?.content?.map(({ token }) => token).join("") ?? "";
    }
    most = Math.max(most, trail.length);
  };
  push("<think>");
  for (let i = 0; i < 1000; i++) push(" word");
  push(" end.</think>");
  expect(said).toBe("");
  push("Yes");
  push(" <tool_call>");
  push('{"name": "f", "arguments": {"a": "');
  for (let i = 0; i < 1000; i++) push(" word");
  push('"}}</tool_call>');
  // One token of content; a few are kept where a mark or a call may begin.
  expect(said).toBe("x");
  expect(most).toBeLessThan(8);
});
