import type { DescMessage, Message, MessageShape } from "@bufbuild/protobuf";
import type { Path } from "@bufbuild/protobuf/reflect";
import type { JsonSchema } from "./json-schema.ts";
import type { JsonSource } from "./json-source.ts";

export type { JsonSchema } from "./json-schema.ts";

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
  /** JSON text. Throws `internal` for a number that JSON can't hold. */
  encode(message: MessageShape<D>): string;
  /** JSON Schema of this message; nested messages by `#/components/schemas/<Name>`. */
  readonly schema: JsonSchema;
}

/**
 * The codec of a message, compiled on first use and kept. Throws where the
 * annotations are ambiguous or contradict each other, naming the field: call it
 * at boot for everything that is served.
 */
export function jsonCodec<D extends DescMessage>(_desc: D): JsonCodec<D> {
  throw new Error("not implemented");
}

/** Sets the field at a dotted path from text (path variables). Throws `invalid_request`. */
export function assignText(_desc: DescMessage, _message: Message, _path: string, _text: string): void {
  throw new Error("not implemented");
}

/**
 * The schemas of these messages and of all that they reach, by component name.
 * Requests accept aliases, nulls and bare values that responses never hold, so
 * the two directions differ: the name of a component is the message's name for
 * responses and has the suffix `Input` for requests, so that both can stand in
 * one document. `comments` maps fully-qualified names to descriptions.
 */
export function componentSchemas(
  _descs: Iterable<DescMessage>,
  _direction: "request" | "response",
  _comments?: ReadonlyMap<string, string>,
): Record<string, JsonSchema> {
  throw new Error("not implemented");
}

/**
 * A path of protovalidate or reflection as a client knows it: JSON names, with
 * flattened wrappers and oneofs left out, e.g. `messages[0].content[1].text`.
 */
export function jsonPath(_path: Path): string {
  throw new Error("not implemented");
}

/** The tag of a message whose only oneof is tagged, e.g. the name of an SSE event. */
export function tagOf(_desc: DescMessage, _message: Message): string | undefined {
  throw new Error("not implemented");
}
