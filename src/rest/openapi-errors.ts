import { ErrorFormat } from "../../gen/loqui/rest/v1/annotations_pb.ts";
import type { JsonSchema } from "../codec/codec.ts";

/** The schemas of what src/rest/error-response.ts writes. */
export const errorSchemas: Readonly<Record<string, JsonSchema>> = {
  Error: {
    type: "object",
    description: "What went wrong, in OpenAI's shape.",
    properties: {
      error: {
        type: "object",
        properties: {
          message: { type: "string", description: "For people: the parameter, its value and the limit." },
          type: { type: "string", description: "The class of the error, e.g. `invalid_request_error`." },
          param: {
            type: ["string", "null"],
            description: "The path of the member at fault, e.g. `messages[0].content`.",
          },
          code: { type: ["string", "null"], description: "The kind of error, or the rule that was broken." },
          n_prompt_tokens: { type: "integer", description: "The tokens of a prompt that doesn't fit." },
          n_ctx: { type: "integer", description: "The tokens that would fit." },
        },
        required: ["message", "type", "param", "code"],
      },
      detail: { type: "string", description: "The message once more, of an unknown model." },
    },
    required: ["error"],
  },
  AnthropicError: {
    type: "object",
    description: "What went wrong, in Anthropic's shape.",
    properties: {
      type: { const: "error" },
      error: {
        type: "object",
        properties: { type: { type: "string" }, message: { type: "string" } },
        required: ["type", "message"],
      },
    },
    required: ["type", "error"],
  },
};

/** The schema of a method's errors. */
export function errorSchemaOf(format: ErrorFormat): JsonSchema {
  return { $ref: `#/components/schemas/${format === ErrorFormat.ANTHROPIC ? "AnthropicError" : "Error"}` };
}
