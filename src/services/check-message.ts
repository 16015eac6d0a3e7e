import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { createValidator } from "@bufbuild/protovalidate";
import { violationError } from "./violation.ts";

const validator = createValidator();

/**
 * Holds a message to its protovalidate rules. Throws `invalid_request` for the
 * first that it breaks. The rules of a type are compiled at its first message.
 */
export function checkMessage<D extends DescMessage>(desc: D, message: MessageShape<D>): void {
  const result = validator.validate(desc, message);
  if (result.kind === "valid") return;
  if (result.kind === "error") throw result.error;
  const violation = result.violations[0];
  if (violation === undefined) throw result.error;
  throw violationError(desc, message, violation);
}

/** Compiles the rules of a type, unless they are. */
export function compileRules(desc: DescMessage, empty: MessageShape<DescMessage>): void {
  validator.validate(desc, empty);
}
