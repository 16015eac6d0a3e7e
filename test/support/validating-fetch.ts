import { openAiSchemas } from "./openai-schemas.ts";
import {
  eventData,
  type OpenApiValidator,
  type SeenResponse,
  seenResponse,
  validatorOfServer,
} from "./openapi-validator.ts";

/** A `fetch` for clients, and what it found. */
export interface ValidatingFetch {
  readonly fetch: typeof fetch;
  /** Throws what was wrong with any response, once all are read; answers how many were checked. */
  settle(): Promise<number>;
}

/**
 * A `fetch` that holds every response that is read to its end against the
 * server's own /openapi.json, and against OpenAI's schemas where they are at
 * hand. Streams that the client leaves are not checked. The headers are for
 * /openapi.json, where it needs a key.
 */
export async function validatingFetch(
  url: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<ValidatingFetch> {
  const validator = await validatorOfServer(url, headers);
  if (validator === undefined) throw new Error(`${url} has no /openapi.json`);
  const checks: Promise<boolean>[] = [];

  async function check(validator: OpenApiValidator, method: string, response: Response): Promise<boolean> {
    const seen = await seenResponse(method, new URL(response.url).pathname, response);
    if (seen === undefined) return false;
    validator.check(seen);
    checkByOpenAi(seen);
    return true;
  }

  return {
    async fetch(input, init) {
      const response = await fetch(input, init);
      const checked = check(validator, init?.method ?? "GET", response.clone());
      // Told by `settle`.
      checked.catch(() => {});
      checks.push(checked);
      return response;
    },
    async settle() {
      return (await Promise.all(checks)).filter(Boolean).length;
    },
  };
}

const openAi = openAiSchemas();

/** OpenAI's names for what an operation answers: whole, and an event of its stream. */
const openAiNames: Readonly<Record<string, readonly [whole: string, event?: string]>> = {
  "POST /v1/chat/completions": ["CreateChatCompletionResponse", "CreateChatCompletionStreamResponse"],
  "POST /v1/completions": ["CreateCompletionResponse", "CreateCompletionResponse"],
  "GET /v1/models": ["ListModelsResponse"],
};

function checkByOpenAi({ method, path, status, contentType, body }: SeenResponse & { readonly body: string }): void {
  const [whole, event] = openAiNames[`${method.toUpperCase()} ${path}`] ?? [];
  if (openAi === undefined || whole === undefined) return;
  const streamed = contentType.startsWith("text/event-stream");
  const documents = streamed ? eventData(body).filter((data) => data !== "[DONE]") : [body];
  for (const text of documents) {
    const value = JSON.parse(text) as object;
    const schema = "error" in value ? "ErrorResponse" : streamed ? (event ?? whole) : whole;
    const errors = openAi.errors(schema, value).filter((error) => !isKnown(schema, error));
    if (errors.length > 0) {
      throw new Error(`${method} ${path} → ${status}: no ${schema}: ${JSON.stringify(errors)} in ${text}`);
    }
  }
}

/** OpenAI streams `finish_reason: null` for completions too, which its specification forgets. */
function isKnown(schema: string, error: { readonly instancePath: string }): boolean {
  return schema === "CreateCompletionResponse" && /^\/choices\/\d+\/finish_reason$/.test(error.instancePath);
}
