import type { OpenApiDocument } from "../../src/rest/openapi.ts";
import { createOpenApiValidator } from "./openapi-validator.ts";

/** A `fetch` for clients, and what it found. */
export interface ValidatingFetch {
  readonly fetch: typeof fetch;
  /** Throws what was wrong with any response, once all are read; answers how many were checked. */
  settle(): Promise<number>;
}

/**
 * A `fetch` that holds every response that is read to its end against the
 * server's own /openapi.json. Streams that the client leaves are not checked.
 */
export async function validatingFetch(url: string): Promise<ValidatingFetch> {
  const document = await (await fetch(`${url}/openapi.json`)).json();
  const validator = createOpenApiValidator(document as OpenApiDocument);
  const checks: Promise<boolean>[] = [];

  async function check(method: string, response: Response): Promise<boolean> {
    let body: string;
    try {
      body = await response.text();
    } catch {
      return false;
    }
    const contentType = response.headers.get("content-type") ?? "";
    validator.check({ method, path: new URL(response.url).pathname, status: response.status, contentType, body });
    return true;
  }

  return {
    async fetch(input, init) {
      const response = await fetch(input, init);
      const checked = check(init?.method ?? "GET", response.clone());
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
