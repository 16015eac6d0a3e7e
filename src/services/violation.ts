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
  const rule = violation.message.replace(/^value /, "");
  return new LoquiError("invalid_request", describe(param, rule, desc, message, violation), {
    ...(param !== "" && { param }),
    code: violation.ruleId,
  });
}

function describe(
  param: string,
  rule: string,
  desc: DescMessage,
  message: MessageShape<DescMessage>,
  violation: Violation,
): string {
  if (param === "") return `request: ${rule}`;
  if (violation.forKey) return `${param}: the key ${rule}`;
  const found = valueAt(desc, message, violation.field);
  if (found?.missing) return `${param} is required`;
  // A number as it is; texts, lists and messages may be long or private and are not shown.
  const shown = typeof found?.value === "number" || typeof found?.value === "bigint";
  return shown ? `${param}: ${found.value} ${rule}` : `${param}: ${rule}`;
}

/** The value at a path, and whether its field was left out; undefined where the path leads nowhere. */
function valueAt(
  desc: DescMessage,
  message: MessageShape<DescMessage>,
  path: Path,
): { value: unknown; missing: boolean } | undefined {
  let value: unknown = reflect(desc, message);
  let missing = false;
  for (const element of path) {
    if (element.kind === "field" && isReflectMessage(value)) {
      missing = !value.isSet(element);
      value = value.get(element);
    } else if (element.kind === "list_sub" && isReflectList(value)) value = value.get(element.index);
    else if (element.kind === "map_sub" && isReflectMap(value)) value = value.get(element.key as never);
    else return undefined;
  }
  return { value, missing };
}
