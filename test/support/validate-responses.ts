/**
 * Set up before every test file: each JSON response that a test gets by `fetch`
 * from a server with an /openapi.json is held against that document. What is
 * wrong fails the test that it came in.
 */
import { afterEach } from "vitest";
import { type OpenApiValidator, seenResponse, validatorOfServer } from "./openapi-validator.ts";

const plainFetch = globalThis.fetch;
const validators = new Map<string, Promise<OpenApiValidator | undefined>>();
let checks: Promise<void>[] = [];

globalThis.fetch = async (input, init) => {
  const url = new URL(input instanceof Request ? input.url : input);
  // Asked for before the response: a server may end with it.
  const headers = new Headers(init?.headers ?? (input instanceof Request ? input.headers : {}));
  const validator = await validatorOf(url.origin, headers);
  const response = await plainFetch(input, init);
  const contentType = response.headers.get("content-type") ?? "";
  const method = init?.method ?? (input instanceof Request ? input.method : "GET");
  if (validator?.has(method, url.pathname) && contentType.startsWith("application/json")) {
    const checked = check(validator, method, url.pathname, response.clone());
    // Told after the test.
    checked.catch(() => {});
    checks.push(checked);
  }
  return response;
};

async function check(validator: OpenApiValidator, method: string, path: string, response: Response): Promise<void> {
  const seen = await seenResponse(method, path, response);
  if (seen !== undefined && method !== "HEAD") validator.check(seen);
}

function validatorOf(origin: string, headers: Headers): Promise<OpenApiValidator | undefined> {
  let validator = validators.get(origin);
  if (validator === undefined) {
    validator = loadValidator(origin, headers);
    validators.set(origin, validator);
  }
  return validator;
}

/** A port may be another server's later: what can't be had is asked for again. */
async function loadValidator(origin: string, given: Headers): Promise<OpenApiValidator | undefined> {
  const keys = [...given].filter(([name]) => name === "authorization" || name === "x-api-key");
  try {
    const validator = await validatorOfServer(origin, Object.fromEntries(keys), (input, init) =>
      plainFetch(input, { ...init, signal: AbortSignal.timeout(2_000) }),
    );
    if (validator !== undefined) return validator;
  } catch {
    // No server, or one that is not loqui's: nothing to hold its responses against.
  }
  validators.delete(origin);
  return undefined;
}

afterEach(async () => {
  const pending = checks;
  checks = [];
  await Promise.all(pending);
});
