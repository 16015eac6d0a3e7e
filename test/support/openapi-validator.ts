import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import type { OpenApiDocument } from "../../src/rest/openapi.ts";

/** A response as a client sees it. */
export interface SeenResponse {
  readonly method: string;
  /** Of the request, with or without its query. */
  readonly path: string;
  readonly status: number;
  readonly contentType: string;
  /** Text, or the bytes of it. Of an event stream the whole of it. */
  readonly body: string | Uint8Array;
}

/** Holds responses against an OpenAPI document. */
export interface OpenApiValidator {
  /**
   * Throws, with what is wrong, for a response that its operation doesn't have:
   * status, media type, JSON against the schema; of an event stream each event
   * against the schema of events, and errors against that of errors.
   */
  check(response: SeenResponse): void;
  /** Whether the document has such an operation. */
  has(method: string, path: string): boolean;
  /** Compiles the schema at a JSON pointer, e.g. `/components/schemas/Model`. */
  schemaAt(pointer: string): ValidateFunction;
}

/** The validator for a server, by its /openapi.json; undefined where it has none. `headers`: where that needs a key. */
export async function validatorOfServer(
  origin: string,
  headers: Readonly<Record<string, string>> = {},
  plainFetch: typeof fetch = fetch,
): Promise<OpenApiValidator | undefined> {
  const response = await plainFetch(`${origin}/openapi.json`, { headers });
  return response.ok ? createOpenApiValidator((await response.json()) as OpenApiDocument) : undefined;
}

/** A response of `fetch`, read to its end; undefined where it was broken off, which is no concern of a schema. */
export async function seenResponse(
  method: string,
  path: string,
  response: Response,
): Promise<(SeenResponse & { readonly body: string }) | undefined> {
  const contentType = response.headers.get("content-type") ?? "";
  const body = await response.text().catch(() => undefined);
  return body === undefined ? undefined : { method, path, status: response.status, contentType, body };
}

interface Operation {
  readonly pointer: string;
  readonly pattern: RegExp;
  readonly literals: number;
  readonly method: string;
  readonly responses: Readonly<Record<string, { content?: Readonly<Record<string, { schema?: object }>> }>>;
}

/** For the text of `/openapi.json`, parsed. */
export function createOpenApiValidator(document: OpenApiDocument): OpenApiValidator {
  const ajv = new Ajv2020({ strict: true, strictRequired: false, allowUnionTypes: true, allErrors: true });
  addFormats.default(ajv);
  // The document's own members: ajv takes the root of what it refers to for a schema.
  ajv.addVocabulary(["openapi", "info", "servers", "tags", "paths", "components"]);
  ajv.addSchema(document, documentId, undefined, false);
  const operations = operationsOf(document);
  const compiled = new Map<string, ValidateFunction>();

  function schemaAt(pointer: string): ValidateFunction {
    const known = compiled.get(pointer);
    if (known !== undefined) return known;
    const validate = ajv.compile({ $ref: `${documentId}#${encodePointer(pointer)}` });
    compiled.set(pointer, validate);
    return validate;
  }

  function checkJson(text: string, pointer: string, what: string): void {
    const validate = schemaAt(pointer);
    const value: unknown = JSON.parse(text);
    if (!validate(value)) throw new Error(`${what}: ${ajv.errorsText(validate.errors, { dataVar: "" })} in ${text}`);
  }

  return {
    schemaAt,
    has: (method, path) => findOperation(operations, method, path) !== undefined,
    check({ method, path, status, contentType, body }) {
      const what = `${method} ${path} → ${status}`;
      const operation = findOperation(operations, method, path);
      if (operation === undefined) throw new Error(`${what}: no such operation`);
      const statusKey = Object.hasOwn(operation.responses, String(status)) ? String(status) : "default";
      if (statusKey === "default" && status < 400) throw new Error(`${what}: not a status of the operation`);
      const content = operation.responses[statusKey]?.content ?? {};
      const type = contentType.split(";")[0]?.trim().toLowerCase() ?? "";
      const mediaType = Object.hasOwn(content, type) ? type : "*/*";
      if (!Object.hasOwn(content, mediaType)) throw new Error(`${what}: ${type} is not a media type of the operation`);
      const pointerOf = (key: string, media: string) =>
        `${operation.pointer}/responses/${escapePointer(key)}/content/${escapePointer(media)}/schema`;
      const text = typeof body === "string" ? body : Buffer.from(body).toString();
      if (mediaType === "application/json") checkJson(text, pointerOf(statusKey, mediaType), what);
      if (mediaType !== "text/event-stream") return;
      for (const data of eventData(text)) {
        if (data === "[DONE]") continue;
        const failed = Object.hasOwn(JSON.parse(data) as object, "error");
        const pointer = failed ? pointerOf("default", "application/json") : pointerOf(statusKey, mediaType);
        checkJson(data, pointer, what);
      }
    },
  };
}

/** The `data:` of each event of a text/event-stream. */
export function eventData(text: string): string[] {
  return text
    .split("\n\n")
    .map((event) =>
      event
        .split("\n")
        .filter((line) => line.startsWith("data:"))
        .map((line) => line.slice(5).replace(/^ /, ""))
        .join("\n"),
    )
    .filter((data) => data !== "");
}

const documentId = "https://loqui.invalid/openapi.json";

function operationsOf(document: OpenApiDocument): Operation[] {
  return Object.entries(document.paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]): Operation => {
      const literals = path.replace(/\{[^}]*\}/g, "");
      return {
        pointer: `/paths/${escapePointer(path)}/${method}`,
        pattern: new RegExp(
          `^${path
            .split(/\{[^}]*\}/)
            .map((literal) => literal.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"))
            .join("(.+)")}$`,
        ),
        literals: literals.length,
        method,
        responses: (operation as { responses: Operation["responses"] }).responses,
      };
    }),
  );
}

/** The one that says most of the path literally: variables here may hold slashes. */
function findOperation(operations: readonly Operation[], method: string, path: string): Operation | undefined {
  const [bare = ""] = path.split("?");
  const wanted = method === "HEAD" ? "get" : method.toLowerCase();
  return operations
    .filter((operation) => operation.method === wanted && operation.pattern.test(bare))
    .sort((a, b) => b.literals - a.literals)[0];
}

function escapePointer(token: string): string {
  return token.replaceAll("~", "~0").replaceAll("/", "~1");
}

function encodePointer(pointer: string): string {
  return pointer.split("/").map(encodeURIComponent).join("/");
}
