import { createHash } from "node:crypto";
import type { HttpRequest, HttpResponse } from "./http.ts";
import { headerOf, send } from "./http.ts";
import { createOpenApiDocument, type OpenApiOptions } from "./openapi.ts";

/** Where the document is. */
export const openApiPath = "/openapi.json";

/** The document as bytes, with their hash. */
export interface RenderedDocument {
  readonly body: Buffer;
  readonly etag: string;
}

/** The OpenAPI document, made when it is first asked for and kept. */
export function openApiDocument(options: OpenApiOptions): () => RenderedDocument {
  let rendered: RenderedDocument | undefined;
  return () => {
    if (rendered === undefined) {
      const body = Buffer.from(JSON.stringify(createOpenApiDocument(options)));
      rendered = { body, etag: `"${createHash("sha256").update(body).digest("base64url").slice(0, 22)}"` };
    }
    return rendered;
  };
}

/** Sends the document, or 304 to a client that has it. */
export function sendOpenApi(request: HttpRequest, response: HttpResponse, { body, etag }: RenderedDocument): void {
  const known =
    headerOf(request, "if-none-match")
      ?.split(",")
      .map((tag) => tag.trim().replace(/^W\//, "")) ?? [];
  const headers = { etag, "cache-control": "no-cache" };
  if (known.includes(etag) || known.includes("*")) send(request, response, 304, headers, "");
  else send(request, response, 200, { ...headers, "content-type": "application/json" }, body);
}
