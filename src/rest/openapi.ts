import type { DescMessage, DescService } from "@bufbuild/protobuf";
import { comments as schemaComments } from "../../gen/comments.ts";
import { componentSchemas, type JsonSchema } from "../codec/codec.ts";
import type { Binding } from "./bindings.ts";
import { errorSchemas } from "./openapi-errors.ts";
import { createOperation, headerParameters, responseHeaders } from "./openapi-operation.ts";
import { openApiPathOf } from "./openapi-path.ts";
import type { RouteTable } from "./routes.ts";

/** What the document says of the server. */
export interface OpenApiInfo {
  readonly title?: string;
  readonly version?: string;
  readonly description?: string;
  /** Descriptions by fully-qualified name. Default: the comments of `loqui.v1`. */
  readonly comments?: ReadonlyMap<string, string>;
}

export interface OpenApiOptions {
  readonly services: Iterable<DescService>;
  readonly routeTable: RouteTable;
  readonly info?: OpenApiInfo;
}

/** An OpenAPI 3.1 document; its parts are JSON. */
export interface OpenApiDocument {
  readonly openapi: "3.1.0";
  readonly info: { readonly title: string; readonly version: string; readonly description?: string };
  readonly servers: readonly { readonly url: string }[];
  readonly tags: readonly { readonly name: string; readonly description?: string }[];
  readonly paths: Readonly<Record<string, Readonly<Record<string, object>>>>;
  readonly components: {
    readonly schemas: Readonly<Record<string, JsonSchema>>;
    readonly parameters: Readonly<Record<string, object>>;
    readonly headers: Readonly<Record<string, object>>;
    readonly securitySchemes: Readonly<Record<string, object>>;
  };
}

/**
 * The OpenAPI document of all routes: paths from google.api.http, schemas from
 * the codec (which takes the rules of protovalidate into them), descriptions
 * from the comments. Variants of a path are one operation. Takes tens of
 * milliseconds; keep it.
 */
export function createOpenApiDocument({ services, routeTable, info = {} }: OpenApiOptions): OpenApiDocument {
  const comments = info.comments ?? schemaComments;
  const { bindings } = routeTable;
  const targets = bindings.flatMap((binding) => binding.targets);
  const inputs = new Set<DescMessage>(targets.map(({ method }) => method.input));
  const outputs = new Set<DescMessage>(targets.map(({ method }) => method.output));
  for (const { responseBody } of bindings) if (responseBody !== undefined) outputs.add(responseBody.message);
  const requestSchemas = componentSchemas(inputs, "request", comments);
  const schemas: Record<string, JsonSchema> = {
    ...requestSchemas,
    ...componentSchemas(outputs, "response", comments),
  };
  for (const [name, schema] of Object.entries(errorSchemas)) {
    if (Object.hasOwn(schemas, name)) throw new Error(`a message is named ${name}, as the schema of errors is`);
    schemas[name] = schema;
  }

  const paths: Record<string, Record<string, object>> = {};
  const operationIds = new Set<string>();
  for (const binding of bindings) {
    const httpMethod = binding.httpMethod.toLowerCase();
    // OpenAPI 3.1 knows no other methods.
    if (!openApiMethods.has(httpMethod)) continue;
    const path = openApiPathOf(binding.template);
    const item = paths[path] ?? {};
    paths[path] = item;
    if (Object.hasOwn(item, httpMethod)) throw new Error(`${binding.httpMethod} ${path} stands for two routes`);
    item[httpMethod] = createOperation(binding, operationId(binding, operationIds), { comments, requestSchemas });
  }

  return {
    openapi: "3.1.0",
    info: {
      title: info.title ?? "loqui",
      version: info.version ?? "0",
      ...(info.description !== undefined && { description: info.description }),
    },
    servers: [{ url: "/" }],
    tags: tagsOf(services, bindings, comments),
    paths,
    components: {
      schemas: Object.fromEntries(Object.entries(schemas).sort(([a], [b]) => (a < b ? -1 : 1))),
      parameters: headerParameters,
      headers: responseHeaders,
      securitySchemes: {
        bearer: { type: "http", scheme: "bearer" },
        apiKey: { type: "apiKey", in: "header", name: "x-api-key" },
      },
    },
  };
}

const openApiMethods = new Set(["get", "put", "post", "delete", "options", "head", "patch", "trace"]);

/** The method's name; further paths of the same method are numbered. */
function operationId({ targets }: Binding, taken: Set<string>): string {
  const name = targets.at(-1)?.method.localName ?? "";
  let id = name;
  for (let number = 2; taken.has(id); number += 1) id = `${name}${number}`;
  taken.add(id);
  return id;
}

function tagsOf(services: Iterable<DescService>, bindings: readonly Binding[], comments: ReadonlyMap<string, string>) {
  const used = new Set(bindings.flatMap(({ targets }) => targets.map(({ method }) => method.parent)));
  return [...services]
    .filter((service) => used.has(service))
    .map((service) => {
      const description = comments.get(service.typeName);
      return { name: service.name, ...(description !== undefined && { description }) };
    });
}
