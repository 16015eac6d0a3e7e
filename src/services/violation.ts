import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { isReflectList, isReflectMap, isReflectMessage, type Path, reflect } from "@bufbuild/protobuf/reflect";
import type { Violation } from "@bufbuild/protovalidate";
import { jsonPath } from "../codec/codec.ts";
import { LoquiError } from "../errors.ts";

/**
 * A broken protovalidate rule as an error that names the field as clients know
 * it, its value and the bound: `temperature: 3.5 must be less than or equal to 2`.
 */
export function violationError(
  desc: DescMessage,
  message: MessageShape<DescMessage>,
  violation: Violation,
): LoquiError {
  const param = jsonPath(violation.field);
  const value = shownValue(desc, message, violation.field);
  const subject = param === "" ? "request" : param;
  const rule = violation.message.replace(/^value /, "");
  return new LoquiError("invalid_request", `${subject}: ${value === undefined ? rule : `${value} ${rule}`}`, {
    ...(param !== "" && { param }),
    code: violation.ruleId,
  });
}

/** A number as it is; texts, lists and messages may be long or private and are not shown. */
function shownValue(desc: DescMessage, message: MessageShape<DescMessage>, path: Path): string | undefined {
  let value: unknown = reflect(desc, message);
  for (const element of path) {
    if (element.kind === "field" && isReflectMessage(value)) value = value.get(element);
    else if (element.kind === "list_sub" && isReflectList(value)) value = value.get(element.index);
    else if (element.kind === "map_sub" && isReflectMap(value)) value = value.get(element.key as never);
    else return undefined;
  }
  return typeof value === "number" || typeof value === "bigint" ? String(value) : undefined;
}
