import type { DescMessage, Message, MessageShape } from "@bufbuild/protobuf";
import { LoquiError } from "../errors.ts";
import { messageReader } from "./decode.ts";
import type { DecodeContext } from "./decode-context.ts";
import { messageWriter } from "./encode.ts";
import type { Fields, OneofValue } from "./fields.ts";
import { formPart } from "./form.ts";
import type { JsonSchema } from "./json-schema.ts";
import type { JsonSource } from "./json-source.ts";
import { type MessagePlan, planOf } from "./plan.ts";
import { type SourceNode, sourceTree } from "./raw-spans.ts";
import { responseSchema } from "./schema.ts";

export { assignText } from "./assign.ts";
export type { JsonSchema } from "./json-schema.ts";
export { jsonPath } from "./path.ts";
export { componentName, componentSchemas, type Direction } from "./schema.ts";
export { isOneofRequired, isRequired } from "./schema-rules.ts";

/**
 * What becomes of that which the schema doesn't know. Lenient: unknown members
 * are ignored and listed. Strict: they are refused. Both refuse unknown enum
 * values. Upstream: both are tolerated and listed.
 */
export type DecodeMode = "lenient" | "strict" | "upstream";

/** A message read from JSON or from a form. */
export interface Decoded<D extends DescMessage> {
  readonly message: MessageShape<D>;
  /** Paths of the members that were not understood, e.g. `foo`, `messages[0].bar`. */
  readonly ignored: readonly string[];
}

/** A file of a multipart form. */
export interface FormFile {
  readonly content: Uint8Array;
  readonly filename: string;
  readonly contentType: string;
}

/** Reads and writes the OpenAI JSON of one message, as its annotations say. */
export interface JsonCodec<D extends DescMessage> {
  /** Throws `invalid_request` with the JSON path as `param`. */
  decode(source: JsonSource, mode: DecodeMode): Decoded<D>;
  /**
   * Reads name/value pairs of a query string or a multipart form. Repeated names
   * append to repeated fields, dotted names reach nested scalars, values are
   * parsed by the field's type; members of message type take JSON text. A file
   * fills a bytes field, or a message with the fields content, filename and
   * content_type. Throws `invalid_request`.
   */
  decodeForm(fields: Iterable<readonly [string, string | FormFile]>, mode: DecodeMode): Decoded<D>;
  /**
   * JSON text. raw_json stands in it as it is, line breaks included: whoever
   * writes lines (server-sent events) must split it. Throws `internal` for a
   * number that JSON can't hold, `invalid_request` for raw_json that is none.
   */
  encode(message: MessageShape<D>): string;
  /**
   * JSON Schema of what `encode` prints; nested messages by
   * `#/components/schemas/<Name>`. That of requests: {@link componentSchemas}.
   */
  readonly schema: JsonSchema;
}

/**
 * The codec of a message, compiled on first use and kept. Throws where the
 * annotations are ambiguous or contradict each other, naming the field: call it
 * at boot for everything that is served.
 */
export function jsonCodec<D extends DescMessage>(desc: D): JsonCodec<D> {
  const known = codecs.get(desc);
  // The map holds under each descriptor the codec of its messages.
  if (known !== undefined) return known as unknown as JsonCodec<D>;
  const codec = compileCodec(desc);
  codecs.set(desc, codec as unknown as JsonCodec<DescMessage>);
  return codec;
}

const codecs = new WeakMap<DescMessage, JsonCodec<DescMessage>>();

function compileCodec<D extends DescMessage>(desc: D): JsonCodec<D> {
  const plan = planOf(desc);
  const write = messageWriter(plan);
  return {
    decode: ({ text, value }, mode) =>
      decode(
        plan,
        value,
        lazy(() => sourceTree(text)),
        mode,
      ),
    decodeForm(fields, mode) {
      const { value, source } = formPart(plan, fields);
      return decode(plan, value, () => source, mode);
    },
    encode: (message) => write(message as unknown as Fields),
    schema: responseSchema(plan),
  };
}

function decode<D extends DescMessage>(
  plan: MessagePlan,
  value: unknown,
  source: () => SourceNode,
  mode: DecodeMode,
): Decoded<D> {
  const context: DecodeContext = { mode, steps: [], ignored: [], source };
  const message = messageReader(plan)(value, context, 0) as MessageShape<D>;
  const [first] = context.ignored;
  if (mode === "strict" && first !== undefined) {
    const names = context.ignored.length === 1 ? "unknown parameter" : "unknown parameters";
    throw new LoquiError("invalid_request", `${names}: ${context.ignored.join(", ")}`, {
      param: first,
      code: "unknown_parameter",
    });
  }
  return { message, ignored: context.ignored };
}

function lazy<T>(make: () => T): () => T {
  let value: T | undefined;
  return () => (value ??= make());
}

/** The tag of a message whose only oneof is tagged, e.g. the name of an SSE event. */
export function tagOf(desc: DescMessage, message: Message): string | undefined {
  const { shape } = planOf(desc);
  const tagged = shape.kind === "object" ? shape.members.find(({ kind }) => kind === "tagged") : undefined;
  if (tagged?.kind !== "tagged") return undefined;
  const { case: set } = (message as unknown as Fields)[tagged.local] as OneofValue;
  for (const [tag, field] of tagged.alternatives) if (field.local === set) return tag;
  return undefined;
}
