import { createHash } from "node:crypto";
import { LoquiError } from "../errors.ts";
import { type AnswerShape, answerGrammar } from "./answer-grammar.ts";
import { parseJson } from "./chat-messages.ts";
import type { GenerationRequest } from "./generator.ts";
import type { Expression, GrammarBuilder } from "./grammar/gbnf.ts";
import { gbnfExpression } from "./grammar/gbnf-source.ts";
import { anyObject, choiceExpression, schemaExpression } from "./grammar/json-schema.ts";
import { regexExpression } from "./grammar/regex.ts";

/** Compiles what a request says of the form of its answer and of the tools that it may call. */
export interface StructureCompiler {
  /**
   * The grammar (GBNF) of the answer; undefined where any text will do. `shape`
   * says what else than the form it may have; without one it is the form alone.
   * Throws `invalid_request`, naming the field and the place in it, for what
   * can't be held.
   */
  grammarOf(request: GenerationRequest, shape?: ChatShape): string | undefined;
}

/** What an answer in a chat may be beside the request's form. */
export type ChatShape = Omit<AnswerShape, "form">;

/** A form of the answer: where it stands in the request and how it is compiled. */
interface Form {
  readonly param: string;
  /** What it is compiled of, for the cache. */
  readonly source: string;
  readonly compile: (builder: GrammarBuilder) => Expression;
}

const mostCached = 64;

/** Keeps the grammars used last, so that an agent's tools and schema are compiled once. */
export function createStructureCompiler(): StructureCompiler {
  const cache = new Map<string, string | undefined>();
  return {
    grammarOf(request, shape) {
      const form = formOf(request);
      if (form === undefined && shape?.calls === undefined) return undefined;
      const key = keyOf(form, shape);
      const grammar = cache.has(key) ? cache.get(key) : answerGrammar(shape, form)?.text;
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

function keyOf(form: Form | undefined, shape: ChatShape | undefined): string {
  const { format, calls, ...rest } = shape ?? {};
  const functions = calls?.functions.map(({ name, parameters, strict, param }) => [name, parameters, strict, param]);
  const whole = [form?.param, form?.source, rest, format?.calls.name, calls && { ...calls, functions }];
  return createHash("sha256").update(JSON.stringify(whole)).digest("base64");
}

/** Whether a request asks for a form of its answer. */
export function hasForm(request: GenerationRequest): boolean {
  return formOf(request) !== undefined;
}

/** The field that the grammar of a request's answer comes from. */
export function grammarParam(request: GenerationRequest): string {
  return formOf(request)?.param ?? "tools";
}

/** The form that a request asks for; `invalid_request` for a second one. */
function formOf(request: GenerationRequest): Form | undefined {
  const [form, other] = formsOf(request);
  if (form === undefined || other === undefined) return form;
  const { param } = other;
  throw new LoquiError("invalid_request", `${param}: ${form.param} says the form of the answer already`, { param });
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
  if (request.grammar !== undefined) forms.push(grammarForm("grammar", request.grammar));
  if (request.guidedRegex !== undefined) forms.push(regexForm("guided_regex", request.guidedRegex));
  if (request.guidedChoice.length > 0) forms.push(choiceForm("guided_choice", request.guidedChoice));
  const { structuredOutputs } = request;
  if (structuredOutputs !== undefined) {
    const { json, regex, choice, grammar, jsonObject } = structuredOutputs;
    if (json !== undefined) forms.push(jsonForm("structured_outputs.json", json));
    if (regex !== undefined) forms.push(regexForm("structured_outputs.regex", regex));
    if (choice.length > 0) forms.push(choiceForm("structured_outputs.choice", choice));
    if (grammar !== undefined) forms.push(grammarForm("structured_outputs.grammar", grammar));
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
    compile: (builder) =>
      schema === undefined ? anyObject(builder) : schemaExpression(source, { param, strict }, builder),
  };
}

function regexForm(param: string, regex: string): Form {
  return { param, source: regex, compile: (builder) => regexExpression(regex, param, builder) };
}

function grammarForm(param: string, grammar: string): Form {
  return { param, source: grammar, compile: (builder) => gbnfExpression(grammar, param, builder) };
}

function choiceForm(param: string, choices: readonly string[]): Form {
  const source = JSON.stringify(choices);
  return { param, source, compile: (builder) => choiceExpression(choices, param, builder) };
}
