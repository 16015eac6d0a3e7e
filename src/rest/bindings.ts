import type { DescField, DescMessage, DescMethod, DescService } from "@bufbuild/protobuf";
import { getOption, hasOption } from "@bufbuild/protobuf";
import { http } from "../../gen/google/api/annotations_pb.ts";
import type { HttpRule } from "../../gen/google/api/http_pb.ts";
import {
  type ErrorFormat,
  method as methodOption,
  type RestMethod,
  type Sse,
} from "../../gen/loqui/rest/v1/annotations_pb.ts";
import { type Condition, parseCondition } from "./condition.ts";
import { type PathTemplate, parsePathTemplate } from "./path-template.ts";

/** A method that a route can lead to. */
export interface Target {
  readonly method: DescMethod;
  /** Undefined for the method that the path belongs to: it takes what no variant takes. */
  readonly condition: Condition | undefined;
  /** How the stream is sent; undefined for unary methods and streams of raw bytes. */
  readonly sse: Sse | undefined;
  readonly multipart: boolean;
}

/** One HTTP method and path, with the methods of the service behind it. */
export interface Binding {
  /** In upper case; `*` for all that no other binding of the path names. */
  readonly httpMethod: string;
  readonly template: PathTemplate;
  /** As in HttpRule: `*` (the body is the request), the name of a field (it is that field's value) or empty (none). */
  readonly body: string;
  /** The message field of the response that is sent instead of the whole. */
  readonly responseBody: (DescField & { fieldKind: "message" }) | undefined;
  /** Variants in the order of the schema, the path's own method last. */
  readonly targets: readonly Target[];
  readonly errorFormat: ErrorFormat;
}

/** The message whose value is sent as raw bytes with its own media type. */
export const httpBodyTypeName = "google.api.HttpBody";

/**
 * Everything that google.api.http and our own options say about the methods of
 * these services. Methods without a path are left out. Throws, naming the
 * method, where the options contradict each other or the descriptors.
 */
export function compileBindings(services: Iterable<DescService>): Binding[] {
  const bindings: Binding[] = [];
  for (const service of services) {
    const variants = new Map<string, Target[]>();
    for (const method of service.methods) {
      naming(method, () => {
        const rest = restOptions(method);
        if (rest.variantOf === "") {
          if (rest.when !== "") throw new Error("`when` without `variant_of`");
          return;
        }
        if (hasOption(method, http)) throw new Error("a variant has the path of another method and none of its own");
        if (rest.when === "") throw new Error("`variant_of` without `when`");
        const primary = service.methods.find((other) => other.name === rest.variantOf);
        if (primary === undefined)
          throw new Error(`variant of ${rest.variantOf}, which ${service.typeName} doesn't have`);
        if (!hasOption(primary, http)) throw new Error(`variant of ${rest.variantOf}, which has no path`);
        const targets = variants.get(primary.name) ?? [];
        targets.push(compileTarget(method, parseCondition(rest.when, method.input)));
        variants.set(primary.name, targets);
      });
    }
    for (const method of service.methods) {
      if (!hasOption(method, http)) continue;
      naming(method, () => {
        const targets = [...(variants.get(method.name) ?? []), compileTarget(method, undefined)];
        const rule = getOption(method, http);
        for (const each of [rule, ...rule.additionalBindings]) {
          if (each !== rule && each.additionalBindings.length > 0)
            throw new Error("additional_bindings in additional_bindings");
          bindings.push(compileRule(each, targets));
        }
      });
    }
  }
  return bindings;
}

function naming(method: DescMethod, compile: () => void): void {
  try {
    compile();
  } catch (error) {
    const what = error instanceof Error ? error.message : String(error);
    throw new Error(`${method.parent.typeName}.${method.name}: ${what}`, { cause: error });
  }
}

function restOptions(method: DescMethod): RestMethod {
  return getOption(method, methodOption);
}

function compileTarget(method: DescMethod, condition: Condition | undefined): Target {
  const { sse, multipart } = restOptions(method);
  switch (method.methodKind) {
    case "unary":
      if (sse !== undefined) throw new Error("`sse` on a method that doesn't stream");
      break;
    case "server_streaming":
      if (sse === undefined && method.output.typeName !== httpBodyTypeName) {
        throw new Error("a stream of messages needs `sse` to be reached by REST");
      }
      break;
    case "client_streaming":
    case "bidi_streaming":
      throw new Error("a stream of requests has no REST form");
    default:
      method.methodKind satisfies never;
  }
  return { method, condition, sse, multipart };
}

function compileRule(rule: HttpRule, targets: readonly Target[]): Binding {
  const { httpMethod, path } = patternOf(rule);
  const template = parsePathTemplate(path);
  for (const { method } of targets) {
    for (const variable of template.variables) checkVariable(method.input, variable.fieldPath);
    if (rule.body !== "" && rule.body !== "*") topLevelField(method.input, rule.body, "body");
  }
  const primary = targets.at(-1);
  if (primary === undefined) throw new Error("no method");
  const { output } = primary.method;
  if (rule.responseBody !== "" && targets.length > 1) throw new Error("response_body on a method with variants");
  if (targets.some((target) => target.multipart) && rule.body !== "*") throw new Error('`multipart` needs body: "*"');
  const responseBody = rule.responseBody === "" ? undefined : topLevelField(output, rule.responseBody, "response_body");
  if (responseBody !== undefined && responseBody.fieldKind !== "message") {
    throw new Error(`response_body: ${responseBody.name} is not a message; wrap it and flatten the wrapper`);
  }
  return {
    httpMethod,
    template,
    body: rule.body,
    responseBody,
    targets,
    errorFormat: restOptions(primary.method).errorFormat,
  };
}

function patternOf({ pattern }: HttpRule): { httpMethod: string; path: string } {
  if (pattern.case === undefined) throw new Error("google.api.http without a path");
  if (pattern.case !== "custom") return { httpMethod: pattern.case.toUpperCase(), path: pattern.value };
  if (!/^(?:\*|[A-Z]+)$/.test(pattern.value.kind)) {
    throw new Error(`custom HTTP method ${JSON.stringify(pattern.value.kind)} is neither * nor in upper case`);
  }
  return { httpMethod: pattern.value.kind, path: pattern.value.path };
}

function topLevelField(message: DescMessage, name: string, option: string): DescField {
  const field = message.fields.find((candidate) => candidate.name === name);
  if (field === undefined) throw new Error(`${option}: ${message.typeName} has no field ${name}`);
  return field;
}

/** A variable stands for one scalar or enum value; the fields above it are messages. */
function checkVariable(input: DescMessage, fieldPath: string): void {
  let message: DescMessage | undefined = input;
  for (const [index, name] of fieldPath.split(".").entries()) {
    const field: DescField | undefined = message?.fields.find((candidate) => candidate.name === name);
    if (field === undefined) throw new Error(`path variable ${fieldPath}: ${input.typeName} has no such field`);
    const last = index === fieldPath.split(".").length - 1;
    if (last ? field.fieldKind !== "scalar" && field.fieldKind !== "enum" : field.fieldKind !== "message") {
      throw new Error(`path variable ${fieldPath}: ${field.name} is ${field.fieldKind}, not a single value`);
    }
    message = field.fieldKind === "message" ? field.message : undefined;
  }
}
