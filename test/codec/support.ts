import { create, type DescMessage, type MessageInitShape } from "@bufbuild/protobuf";
import { type DecodeMode, jsonCodec } from "../../src/codec/codec.ts";
import { parseJson } from "../../src/codec/json-source.ts";
import { LoquiError } from "../../src/errors.ts";

/** The LoquiError that a function throws; fails for anything else. */
export function thrownBy(action: () => unknown): LoquiError {
  try {
    action();
  } catch (error) {
    if (error instanceof LoquiError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

/** Decodes JSON text. */
export function decode<D extends DescMessage>(desc: D, json: string, mode: DecodeMode = "lenient") {
  return jsonCodec(desc).decode(parseJson(json), mode);
}

/** Encodes a message given by its fields. */
export function encode<D extends DescMessage>(desc: D, init: MessageInitShape<D>): string {
  return jsonCodec(desc).encode(create(desc, init));
}
