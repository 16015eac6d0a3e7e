import {
  type DescField,
  type DescMessage,
  type DescMethod,
  getOption,
  hasOption,
  ScalarType,
} from "@bufbuild/protobuf";
import { field as fieldOption, method as methodOption } from "../../gen/loqui/rest/v1/annotations_pb.ts";
import { isRequired, type JsonSchema } from "../codec/codec.ts";
import { componentName, type Direction } from "../codec/schema.ts";
import { type Binding, httpBodyTypeName, type Target } from "./bindings.ts";
import { errorSchemaOf } from "./openapi-errors.ts";
import { wildcardsOf } from "./openapi-path.ts";
import { needsBody } from "./required-body.ts";

export interface OperationContext {
  readonly comments: ReadonlyMap<string, string>;
  /** Components of requests, by name. */
  readonly requestSchemas: Readonly<Record<string, JsonSchema>>;
}

/** Request headers that every operation takes. */
export const headerParameters = {
  RequestId: {
    name: "x-request-id",
    in: "header",
    description:
      "Names the request in logs; made by the server where it is missing. 1 to 128 visible ASCII characters.",
    schema: { type: "string" },
  },
  RequestTimeout: {
    name: "x-request-timeout",
    in: "header",
    description: "How long the answer may take, in seconds; the server's own limit holds too.",
    schema: { type: "number", minimum: 0 },
  },
  Strict: {
    name: "x-loqui-strict",
    in: "header",
    description:
      "`1`: members that the schema doesn't know, or that have no effect on the model, are refused instead of ignored.",
    schema: { type: "string", enum: ["0", "1"] },
  },
} as const;

/** Response headers beside those of HTTP. */
export const responseHeaders = {
  RequestId: { description: "The id of the request.", schema: { type: "string" } },
  Ignored: {
    description: "What was ignored in the request: names, percent-encoded, separated by commas.",
    schema: { type: "string" },
  },
  RetryAfter: { description: "When trying again may help, in seconds.", schema: { type: "integer" } },
  ShouldRetry: { description: "`false` where the SDKs must not repeat the request.", schema: { type: "string" } },
} as const;

/** The operation object of a binding: one method with its variants. */
export function createOperation(binding: Binding, operationId: string, context: OperationContext): object {
  const { targets, template } = binding;
  const primary = targets.at(-1);
  if (primary === undefined) throw new Error(`${template.source} leads nowhere`);
  const { method } = primary;
  const body = binding.body === "" ? undefined : requestBody(binding, primary, context);
  const description = describe(targets, context.comments);
  const { scope } = getOption(method, methodOption);
  return {
    operationId,
    tags: [method.parent.name],
    ...(description !== undefined && { summary: firstSentence(description), description }),
    parameters: [
      ...pathParameters(binding, method, context),
      ...(binding.body === "*" ? [] : queryParameters(binding, method, context)),
      ...Object.keys(headerParameters).map((name) => ({ $ref: `#/components/parameters/${name}` })),
    ],
    ...(body !== undefined && { requestBody: body }),
    responses: { "200": success(binding), default: failure(binding) },
    // Roles beside schemes that are not OAuth 2: OpenAPI 3.1. The last: a server without keys.
    security: [{ bearer: scope === "" ? [] : [scope] }, { apiKey: scope === "" ? [] : [scope] }, {}],
    ...(method.deprecated && { deprecated: true }),
  };
}

function componentRef(message: DescMessage, direction: Direction): JsonSchema {
  return { $ref: `#/components/schemas/${componentName(message, direction)}` };
}

function describe(targets: readonly Target[], comments: ReadonlyMap<string, string>): string | undefined {
  const commentOf = ({ method }: Target) => comments.get(`${method.parent.typeName}.${method.name}`);
  const variants = targets.filter((target) => target.condition !== undefined);
  const texts = [
    ...targets.slice(-1).map(commentOf),
    ...variants.map((target) => `With \`${target.condition?.source}\`: ${commentOf(target) ?? target.method.name}`),
  ].filter((text) => text !== undefined);
  return texts.length === 0 ? undefined : texts.join("\n\n");
}

function firstSentence(text: string): string {
  const sentence = /^.*?[.?!](?=\s|$)/s.exec(text)?.[0] ?? text;
  return sentence.replace(/\s+/g, " ").replace(/\.$/, "");
}

function pathParameters({ template }: Binding, { input }: DescMethod, context: OperationContext): object[] {
  const variables = template.variables.map(({ fieldPath, start, end }) => {
    const segments = end === undefined ? "May hold slashes, as they are or as `%2F`." : undefined;
    const pattern =
      end !== undefined && end - start > 1 ? segmentsPattern(template.segments.slice(start, end)) : undefined;
    const description = [context.comments.get(`${input.typeName}.${fieldPath}`), segments].filter(Boolean).join(" ");
    return {
      name: fieldPath,
      in: "path",
      required: true,
      ...(description !== "" && { description }),
      schema: pattern === undefined ? propertyOf(input, fieldPath, context) : { type: "string", pattern },
    };
  });
  const wildcards = wildcardsOf(template).map((name) => ({
    name,
    in: "path",
    required: true,
    schema: { type: "string" },
  }));
  return [...variables, ...wildcards];
}

function segmentsPattern(segments: readonly { kind: string; text?: string }[]): string {
  return `^${segments.map(({ text }) => text?.replace(/[.*+?^${}()|[\]\\]/g, "\\$&") ?? "[^/]+").join("/")}$`;
}

function queryParameters({ template, body }: Binding, { input }: DescMethod, context: OperationContext): object[] {
  const elsewhere = new Set([body, ...template.variables.map(({ fieldPath }) => fieldPath)]);
  return input.fields
    .filter((field) => !elsewhere.has(field.name))
    .map((field) => {
      const schema = propertyOf(input, field.name, context);
      const description = context.comments.get(`${input.typeName}.${field.name}`);
      return {
        name: field.name,
        in: "query",
        ...(isRequired(field) && { required: true }),
        ...(description !== undefined && { description }),
        // A query string holds a message as JSON text.
        ...(field.fieldKind === "message" || field.fieldKind === "map"
          ? { content: { "application/json": { schema } } }
          : { schema }),
      };
    });
}

/** The schema of a request's member without its description, which the parameter has, and without `null`. */
function propertyOf(input: DescMessage, name: string, { requestSchemas }: OperationContext): JsonSchema {
  const { description: _, ...schema } = requestSchemas[componentName(input, "request")]?.properties?.[name] ?? {
    type: "string",
  };
  return withoutNull(schema);
}

/** Parameters and parts are text: they are left out, not null. */
function withoutNull(schema: JsonSchema): JsonSchema {
  const { type, enum: values, anyOf, ...rest } = schema;
  const types = Array.isArray(type) ? type.filter((name) => name !== "null") : type;
  const alternatives = anyOf?.filter((alternative) => alternative.type !== "null");
  const [only] = alternatives ?? [];
  if (only !== undefined && alternatives?.length === 1) return { ...only, ...rest };
  return {
    ...(types !== undefined && { type: Array.isArray(types) && types.length === 1 ? (types[0] ?? types) : types }),
    ...(values !== undefined && { enum: values.filter((value) => value !== null) }),
    ...rest,
    ...(alternatives !== undefined && { anyOf: alternatives }),
  };
}

function requestBody(binding: Binding, primary: Target, context: OperationContext): object {
  const pathFields = new Set(binding.template.variables.map(({ fieldPath }) => fieldPath));
  if (binding.body !== "*") {
    const schema = propertyOf(primary.method.input, binding.body, context);
    return { content: { "application/json": { schema } } };
  }
  const inputs = [...new Set(binding.targets.map(({ method }) => method.input))].reverse();
  const schemas = inputs.map((input) => {
    const { properties } = requestSchemaOf(input, context);
    const bound = [...pathFields].some((name) => properties?.[name] !== undefined);
    return bound ? withoutFields(requestSchemaOf(input, context), pathFields) : componentRef(input, "request");
  });
  const forms = [...new Set(binding.targets.filter(({ multipart }) => multipart).map(({ method }) => method.input))];
  return {
    ...(needsBody(primary.method.input, pathFields) && { required: true }),
    content: {
      "application/json": { schema: anyOf(schemas) },
      ...(forms.length > 0 && {
        "multipart/form-data": { schema: anyOf(forms.map((input) => formSchema(input, context))) },
      }),
    },
  };
}

function requestSchemaOf(input: DescMessage, { requestSchemas }: OperationContext): JsonSchema {
  return requestSchemas[componentName(input, "request")] ?? {};
}

function anyOf(schemas: readonly JsonSchema[]): JsonSchema {
  const [first] = schemas;
  return schemas.length === 1 && first !== undefined ? first : { anyOf: [...schemas] };
}

/** The path sets these: the body need not. */
function withoutFields(schema: JsonSchema, fields: ReadonlySet<string>): JsonSchema {
  const properties = Object.fromEntries(Object.entries(schema.properties ?? {}).filter(([name]) => !fields.has(name)));
  const { required: all = [], ...rest } = schema;
  const required = all.filter((name) => !fields.has(name));
  return { ...rest, properties, ...(required.length > 0 && { required }) };
}

/** A request as a form: its files are parts of their own, in binary. */
function formSchema(input: DescMessage, context: OperationContext): JsonSchema {
  const schema = requestSchemaOf(input, context);
  const properties = Object.fromEntries(
    Object.entries(schema.properties ?? {}).map(([name, property]) => [name, withoutNull(property)]),
  );
  for (const field of input.fields.filter(isFile)) {
    const description = properties[field.name]?.description;
    properties[field.name] = {
      type: "string",
      contentMediaType: "application/octet-stream",
      ...(description !== undefined && { description }),
    };
  }
  return { ...schema, properties };
}

/** What a form sends as a file: bytes, or a message that holds them as `content`. */
function isFile(field: DescField): boolean {
  if (field.fieldKind === "scalar") return field.scalar === ScalarType.BYTES;
  if (field.fieldKind !== "message") return false;
  if (hasOption(field, fieldOption) && getOption(field, fieldOption).rawJson) return false;
  return field.message.fields.some((inner) => inner.name === "content" && inner.scalar === ScalarType.BYTES);
}

function success(binding: Binding): object {
  const content: Record<string, object> = {};
  const json: JsonSchema[] = [];
  const events: JsonSchema[] = [];
  for (const { method, sse } of binding.targets.toReversed()) {
    const { output } = method;
    if (sse !== undefined) events.push(componentRef(output, "response"));
    else if (binding.responseBody !== undefined) json.push(componentRef(binding.responseBody.message, "response"));
    else {
      const { bytes, other } = alternativesOf(output);
      if (other) json.push(componentRef(output, "response"));
      if (bytes) content["*/*"] = { schema: { type: "string", contentMediaType: "application/octet-stream" } };
    }
  }
  if (json.length > 0) content["application/json"] = { schema: anyOf(json) };
  if (events.length > 0) content["text/event-stream"] = { schema: anyOf(events) };
  const notes = binding.targets.flatMap(({ condition, sse }) => {
    if (sse === undefined) return [];
    const where = condition === undefined ? "Server-sent events" : `With \`${condition.source}\` server-sent events`;
    const name = sse.namedEvents ? "; its `event:` line has the tag" : "";
    const done = sse.done ? " A complete stream ends with `data: [DONE]`." : "";
    return [
      `${where}: the \`data:\` of each has this schema${name}. A failure is the last event and has the schema of errors.${done}`,
    ];
  });
  return {
    description: ["The answer.", ...notes].join(" "),
    headers: {
      "x-request-id": { $ref: "#/components/headers/RequestId" },
      "x-loqui-ignored": { $ref: "#/components/headers/Ignored" },
    },
    content,
  };
}

/** Whether a response may be raw bytes, and whether it may be JSON. */
function alternativesOf(output: DescMessage): { bytes: boolean; other: boolean } {
  if (output.typeName === httpBodyTypeName) return { bytes: true, other: false };
  const raw = output.fields.filter((field) => field.message?.typeName === httpBodyTypeName);
  return { bytes: raw.length > 0, other: raw.length < output.fields.length || output.fields.length === 0 };
}

function failure(binding: Binding): object {
  return {
    description: "What went wrong.",
    headers: {
      "x-request-id": { $ref: "#/components/headers/RequestId" },
      "retry-after": { $ref: "#/components/headers/RetryAfter" },
      "x-should-retry": { $ref: "#/components/headers/ShouldRetry" },
    },
    content: { "application/json": { schema: errorSchemaOf(binding.errorFormat) } },
  };
}
