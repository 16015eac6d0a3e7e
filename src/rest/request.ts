import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { reflect } from "@bufbuild/protobuf/reflect";
import { assignText, type DecodeMode, type FormFile, jsonCodec } from "../codec/codec.ts";
import { type JsonSource, parseJson } from "../codec/json-source.ts";
import { quoteShort } from "../codec/path.ts";
import { LoquiError } from "../errors.ts";
import type { Binding, Target } from "./bindings.ts";
import { readWholeBody } from "./body.ts";
import type { MemberLookup } from "./condition.ts";
import { announcesBody, type HttpRequest, mediaTypeOf } from "./http.ts";
import { type FormEntry, type MultipartLimits, readForm } from "./multipart.ts";
import { needsBody } from "./required-body.ts";
import type { PathValue } from "./routes.ts";

/** A request as the dispatcher takes it. */
export interface DecodedRequest {
  readonly target: Target;
  readonly message: MessageShape<DescMessage>;
  /** Members, query parameters and parts that were not understood. */
  readonly ignored: readonly string[];
}

/** Decodes the requests of one binding. */
export type RequestReader = (
  request: HttpRequest,
  variables: readonly PathValue[],
  query: string,
  mode: DecodeMode,
) => Promise<DecodedRequest>;

/** What the client sent in the body, before it is a message. */
type Content =
  | { readonly kind: "empty" }
  | { readonly kind: "json"; readonly source: JsonSource }
  | { readonly kind: "form"; readonly entries: readonly FormEntry[] };

const emptyObject: JsonSource = { text: "{}", value: {} };

/**
 * Compiles how the requests of a binding become messages: the body is read to
 * its end, the variant chosen by its members, then decoded, then the path's
 * variables are set. Throws where the codec refuses a message's annotations.
 *
 * The reader throws LoquiErrors: `unsupported_media_type` for every body but
 * application/json (and multipart/form-data, where the method says so), since a
 * web page can send other types to any server without asking; what the body's
 * limits and the codec refuse; and `invalid_request` for a body that contradicts
 * the path.
 */
export function createRequestReader(binding: Binding, limits: MultipartLimits): RequestReader {
  for (const { method } of binding.targets) jsonCodec(method.input);
  const primary = primaryOf(binding);
  const pathFields = new Set(binding.template.variables.map((variable) => variable.fieldPath));
  const bodyNeeded = binding.body === "*" && needsBody(primary.method.input, pathFields);

  return async (request, variables, query, mode) => {
    const content = await readContent(request, binding, limits);
    if (content.kind === "empty" && bodyNeeded) {
      throw new LoquiError("invalid_request", `the request body is empty; ${primary.method.name} needs one`);
    }
    const parameters: [string, string][] = query === "" ? [] : [...new URLSearchParams(query)];
    const decoded = decode(binding, content, parameters, mode);
    for (const { fieldPath, text } of variables) {
      const given = decoded.lookup(fieldPath);
      if (given !== undefined && given !== null && String(given) !== text) {
        throw new LoquiError(
          "invalid_request",
          `${fieldPath}: the path says ${quoteShort(text)}, the request ${quoteShort(String(given))}`,
          { param: fieldPath },
        );
      }
      assignText(decoded.target.method.input, decoded.message, fieldPath, text);
    }
    return { target: decoded.target, message: decoded.message, ignored: decoded.ignored };
  };
}

function decode(
  binding: Binding,
  content: Content,
  parameters: readonly (readonly [string, string])[],
  mode: DecodeMode,
): DecodedRequest & { lookup: MemberLookup } {
  if (binding.body === "*") {
    // The whole message is in the body; nothing is left for the query.
    const extra = [...new Set(parameters.map(([name]) => name))];
    const [first] = extra;
    if (mode === "strict" && first !== undefined) {
      throw new LoquiError("invalid_request", `unknown query parameter: ${first}`, {
        param: first,
        code: "unknown_parameter",
      });
    }
    const lookup = lookupOf(content);
    const target = choose(binding, lookup);
    const decoded = decodeContent(target, content, mode);
    return { target, lookup, message: decoded.message, ignored: [...decoded.ignored, ...extra] };
  }

  const lookup = formLookup(parameters);
  const target = choose(binding, lookup);
  const { input } = target.method;
  const { message, ignored } = jsonCodec(input).decodeForm(parameters, mode);
  if (binding.body === "") {
    if (content.kind === "empty") return { target, lookup, message, ignored };
    if (mode === "strict") throw new LoquiError("invalid_request", `${target.method.name} takes no request body`);
    return { target, lookup, message, ignored: [...ignored, "body"] };
  }
  if (content.kind !== "json") return { target, lookup, message, ignored };
  const body = jsonCodec(input).decode(memberOf(binding.body, content.source), mode);
  const field = input.fields.find((candidate) => candidate.name === binding.body);
  const from = reflect(input, body.message);
  if (field !== undefined && from.isSet(field)) reflect(input, message).set(field, from.get(field));
  return { target, lookup, message, ignored: [...ignored, ...body.ignored] };
}

function decodeContent(target: Target, content: Content, mode: DecodeMode) {
  const codec = jsonCodec(target.method.input);
  switch (content.kind) {
    case "empty":
      return codec.decode(emptyObject, mode);
    case "json":
      return codec.decode(content.source, mode);
    case "form":
      if (!target.multipart) throw unsupportedType("multipart/form-data", false);
      return codec.decodeForm(content.entries, mode);
    default:
      return content satisfies never;
  }
}

/** The JSON of a message in which one member is all there is. */
function memberOf(name: string, source: JsonSource): JsonSource {
  return { text: `{${JSON.stringify(name)}:${source.text}}`, value: { [name]: source.value } };
}

function primaryOf(binding: Binding): Target {
  const primary = binding.targets.at(-1);
  if (primary === undefined) throw new Error(`${binding.template.source} leads nowhere`);
  return primary;
}

function choose(binding: Binding, lookup: MemberLookup): Target {
  return binding.targets.find((target) => target.condition?.matches(lookup) ?? true) ?? primaryOf(binding);
}

function lookupOf(content: Content): MemberLookup {
  if (content.kind === "form") return formLookup(content.entries);
  const value = content.kind === "json" ? content.source.value : undefined;
  if (typeof value !== "object" || value === null) return () => undefined;
  return (name) => (Object.hasOwn(value, name) ? (value as Record<string, unknown>)[name] : undefined);
}

/** Of a name given several times the last value counts, as in JSON. */
function formLookup(entries: readonly (readonly [string, string | FormFile])[]): MemberLookup {
  return (name) => entries.findLast(([candidate]) => candidate === name)?.[1];
}

async function readContent(request: HttpRequest, binding: Binding, limits: MultipartLimits): Promise<Content> {
  if (!announcesBody(request)) return { kind: "empty" };
  if (binding.body === "") {
    // Read all the same: what stays unread would cost the client its connection.
    const body = await readWholeBody(request, limits);
    return body.length === 0 ? { kind: "empty" } : { kind: "form", entries: [] };
  }
  const media = mediaTypeOf(request);
  const multipart = binding.targets.some((target) => target.multipart);
  if (media?.type === "multipart/form-data" && multipart) {
    return { kind: "form", entries: await readForm(request, limits) };
  }
  if (media !== undefined && media.type !== "application/json") throw unsupportedType(media.type, multipart);
  const charset = media?.parameters.get("charset")?.toLowerCase() ?? "utf-8";
  if (charset !== "utf-8" && charset !== "utf8") {
    throw new LoquiError("unsupported_media_type", `charset ${JSON.stringify(charset)} is not supported; utf-8 is`);
  }
  const body = await readWholeBody(request, limits);
  if (body.length === 0) return { kind: "empty" };
  if (media === undefined) throw unsupportedType(undefined, multipart);
  return { kind: "json", source: parseJson(body) };
}

function unsupportedType(type: string | undefined, multipart: boolean): LoquiError {
  const given = type === undefined ? "a body without content-type" : `content-type ${JSON.stringify(type)}`;
  const known = multipart ? "application/json and multipart/form-data are" : "application/json is";
  return new LoquiError("unsupported_media_type", `${given} is not supported; ${known}`);
}
