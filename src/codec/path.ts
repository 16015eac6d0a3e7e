import type { Path } from "@bufbuild/protobuf/reflect";
import { fieldJson, oneofJson } from "./annotations.ts";

const plain = /^[\w$-]+$/;

/** Names longer than this are cut in paths: they come from clients. */
const maxNameLength = 128;

/** Writes steps from the root as a client knows them: `messages[0].content`, `metadata["a b"]`. */
export function formatPath(steps: Iterable<string | number>): string {
  let path = "";
  for (const step of steps) {
    if (typeof step === "number") path += `[${step}]`;
    else if (plain.test(step) && step.length <= maxNameLength) path += path === "" ? step : `.${step}`;
    else path += `[${quoteShort(step)}]`;
  }
  return path;
}

/** A client's text in double quotes, cut where it is long and always valid Unicode. */
export function quoteShort(text: string): string {
  const short = text.length > maxNameLength ? `${text.slice(0, maxNameLength)}…` : text;
  return JSON.stringify(short.toWellFormed());
}

/**
 * A path of protovalidate or reflection as a client knows it: JSON names, with
 * flattened wrappers and oneofs left out, e.g. `messages[0].content[1].text`.
 */
export function jsonPath(path: Path): string {
  const steps: (string | number)[] = [];
  for (const element of path) {
    switch (element.kind) {
      case "list_sub":
        steps.push(element.index);
        break;
      case "map_sub":
        steps.push(String(element.key));
        break;
      case "oneof": {
        const options = oneofJson(element);
        if (options.styleName === "inline" || options.styleName === "adjacent") steps.push(options.tag);
        else if (!options.flatten) steps.push(element.name);
        break;
      }
      case "extension":
        steps.push(`[${element.typeName}]`);
        break;
      case "field": {
        const options = fieldJson(element);
        const oneof = "oneof" in element ? element.oneof : undefined;
        const oneofOptions = oneof === undefined ? undefined : oneofJson(oneof);
        if (options.flatten || options.unknownMembers || oneofOptions?.styleName === "inline") break;
        if (oneof === undefined || oneofOptions?.styleName !== "untagged") steps.push(element.name);
        else if (!oneofOptions.flatten) steps.push(oneof.name);
        break;
      }
      default:
        element satisfies never;
    }
  }
  return formatPath(steps);
}
