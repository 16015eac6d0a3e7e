import type { DescMessage } from "@bufbuild/protobuf";
import { isOneofRequired, isRequired } from "../codec/codec.ts";

/**
 * Whether the empty message breaks a rule of protovalidate in a field that the
 * path doesn't set, so that a request can't do without a body. Rules in CEL are
 * not looked at: they speak up when the message is validated.
 */
export function needsBody(input: DescMessage, pathFields: ReadonlySet<string>): boolean {
  const requiredField = input.fields.some((field) => isRequired(field) && !pathFields.has(field.name));
  return requiredField || input.oneofs.some(isOneofRequired);
}
