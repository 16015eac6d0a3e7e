import { LoquiError } from "../errors.ts";
import { parseJson } from "./chat-messages.ts";
import type { GenerationRequest } from "./generator.ts";
import { compileChoice, compileJsonObject, compileJsonSchema } from "./grammar/json-schema.ts";
import { compileRegex } from "./grammar/regex.ts";

/** Compiles what a request says of the form of its answer. */
export interface StructureCompiler {
  /**
   * The grammar (GBNF) of the answer; undefined where any text will do. Throws
   * `invalid_request`, naming the field and the place in it, for a form that
   * can't be held.
   */
  grammarOf(request: GenerationRequest): string | undefined;
}

/** A form of the answer: where it stands in the request and how it is compiled. */
interface Form {
  readonly param: string;
  /** What it is compiled of, for the cache. */
  readonly source: string;
  readonly compile: () => { readonly text: string };
}

const mostCached = 64;

/** Keeps the grammars used last, so that an agent's schema is compiled once. */
export function createStructureCompiler(): StructureCompiler {
  const cache = new Map<string, string>();
  return {
    grammarOf(request) {
      const [form, other] = formsOf(request);
      if (form === undefined) return undefined;
      if (other !== undefined) {
        throw new LoquiError("invalid_request", `${other.param}: ${form.param} says the form of the answer already`, {
          param: other.param,
        });
      }
      const key = `${form.param}\0${form.source}`;
      const grammar = cache.get(key) ?? form.compile().text;
      cache.delete(key);
      cache.set(key, grammar);
      for (const oldest of cache.keys()) {
        if (cache.size <= mostCached) break;
        cache.delete(oldest);
      }
      return grammar;
    },
  };
}

function formsOf(request: GenerationRequest): Form[] {
  const forms: Form[] = [];
  const { format } = request.responseFormat ?? {};
  if (format?.case === "jsonObject") forms.push(jsonForm("response_format.schema", format.value.schema));
  if (format?.case === "jsonSchema") {
    const { schema, strict = false } = format.value.jsonSchema ?? {};
    forms.push(jsonForm("response_format.json_schema.schema", schema, strict));
  }
  if (request.jsonSchema !== undefined) forms.push(jsonForm("json_schema", request.jsonSchema));
  if (request.guidedRegex !== undefined) forms.push(regexForm("guided_regex", request.guidedRegex));
  if (request.guidedChoice.length > 0) forms.push(choiceForm("guided_choice", request.guidedChoice));
  const { structuredOutputs } = request;
  if (structuredOutputs !== undefined) {
    const { json, regex, choice, jsonObject } = structuredOutputs;
    if (json !== undefined) forms.push(jsonForm("structured_outputs.json", json));
    if (regex !== undefined) forms.push(regexForm("structured_outputs.regex", regex));
    if (choice.length > 0) forms.push(choiceForm("structured_outputs.choice", choice));
    if (jsonObject === true) forms.push(jsonForm("structured_outputs.json_object", undefined));
  }
  return forms;
}

function jsonForm(param: string, schema: string | undefined, strict = false): Form {
  // vLLM takes a schema that is written in a string too.
  const source = schema?.trimStart().startsWith('"') === true ? (parseJson(schema, param) as string) : (schema ?? "");
  return {
    param,
    source: `${strict}${source}`,
    compile: () => (schema === undefined ? compileJsonObject() : compileJsonSchema(source, { param, strict })),
  };
}

function regexForm(param: string, regex: string): Form {
  return { param, source: regex, compile: () => compileRegex(regex, param) };
}

function choiceForm(param: string, choices: readonly string[]): Form {
  return { param, source: JSON.stringify(choices), compile: () => compileChoice(choices, param) };
}
