import { LoquiError } from "../errors.ts";
import { type CallWriting, callChoice, callParts } from "./chat-output/call-grammars.ts";
import { harmonyWriting } from "./chat-output/formats.ts";
import { mostBreaks, type OutputFormat } from "./chat-output/parser.ts";
import { textUntil } from "./grammar/free-text.ts";
import {
  choice,
  createGrammarBuilder,
  type Expression,
  empty,
  type Grammar,
  type GrammarBuilder,
  literal,
  never,
  sequence,
} from "./grammar/gbnf.ts";
import { type ObjectPart, objectExpression } from "./grammar/json-schema.ts";
import { createBudget } from "./grammar/limits.ts";
import { escapeRegex, regexAutomaton } from "./grammar/regex.ts";

/** A function that an answer may call. */
export interface OfferedFunction {
  readonly name: string;
  /** The JSON Schema of its arguments; none where absent. */
  readonly parameters: string | undefined;
  /** Whether the arguments must be held to the schema, or may be any where it can't be. */
  readonly strict: boolean;
  /** Where the function stands in the request. */
  readonly param: string;
  /** Whether the schema says that a parameter is a string. */
  isText(parameter: string): boolean;
}

export interface OfferedCalls {
  readonly functions: readonly OfferedFunction[];
  /** At least one call; else as the model sees fit. */
  readonly forced: boolean;
  /** No more than one. */
  readonly single: boolean;
}

/** Whether an answer may do without calls, and nothing has to be held in those that it makes. */
export function isOptional({ forced, functions }: OfferedCalls): boolean {
  return !forced && functions.every(({ strict }) => !strict);
}

/** What an answer may be. */
export interface AnswerShape {
  readonly format: OutputFormat;
  /** Whether the prompt ends within the reasoning, or the model may begin with some, or neither. */
  readonly reasoning: "begun" | "possible" | "none";
  /** Whether reasoning is told from the answer: calls in it are none then. */
  readonly separatesReasoning: boolean;
  /** The prompt ends where a message of harmony begins. */
  readonly harmony: boolean;
  readonly calls: OfferedCalls | undefined;
}

/** The form of an answer that is no call. */
export interface AnswerForm {
  /** The field that asks for it. */
  readonly param: string;
  readonly compile: (builder: GrammarBuilder) => Expression;
}

/**
 * The grammar of a whole answer: reasoning, which is free, then calls in the
 * model's own syntax, text, or the form that was asked for. Text is free up to
 * what opens a call; from there on it is a call of an offered function, and free
 * again behind it. So the grammar holds from the first token on, and it doesn't
 * matter which tokens a model takes for what opens a call.
 *
 * Without a shape it is the form alone. Undefined where any text will do. Throws `invalid_request`, naming the place,
 * for what can't be held and has to be.
 */
export function answerGrammar(shape: AnswerShape | undefined, form: AnswerForm | undefined): Grammar | undefined {
  const calls = shape?.calls;
  if (calls === undefined && form === undefined) return undefined;
  try {
    return compile(shape, form, true);
  } catch (error) {
    if (!(error instanceof LoquiError) || calls === undefined || calls.functions.every(({ strict }) => strict))
      throw error;
  }
  // All together they may go beyond the limits.
  try {
    return compile(shape, form, false);
  } catch (error) {
    if (error instanceof LoquiError && isOptional(calls) && form === undefined) return undefined;
    throw error;
  }
}

function compile(shape: AnswerShape | undefined, form: AnswerForm | undefined, exact: boolean): Grammar {
  const builder = createGrammarBuilder(
    createBudget(shape?.calls === undefined && form !== undefined ? form.param : "tools"),
  );
  const asked = form?.compile(builder);
  const grammar = builder.build(
    shape === undefined
      ? (asked ?? never)
      : shape.harmony
        ? harmonyAnswer(shape, asked, exact, builder)
        : taggedAnswer(shape, asked, exact, builder),
  );
  if (grammar === undefined) throw new Error("the grammar of the answer is empty");
  return grammar;
}

/** Reasoning and calls between markers. */
function taggedAnswer(
  shape: AnswerShape,
  asked: Expression | undefined,
  exact: boolean,
  builder: GrammarBuilder,
): Expression {
  const { format, calls } = shape;
  const parts =
    calls === undefined
      ? undefined
      : callParts(format.calls.writing, callsOf(calls, format.calls.writing, exact, builder), calls.single, builder);
  if (parts !== undefined && calls?.forced) return behindReasoning(shape, parts.forced, builder);
  if (asked !== undefined) return behindReasoning(shape, choice(parts?.forced ?? never, asked), builder);
  if (parts === undefined || calls === undefined) throw new Error("neither calls nor a form");

  const { bare, open, writing } = format.calls;
  const reasoning = shape.separatesReasoning ? format.reasoning : undefined;
  const text = builder.open("answer");
  const start = bare === undefined ? text : builder.open("answer");
  // Where nothing closes the calls, more of them can't be told from text.
  const behind = writing.separator !== undefined && writing.close === undefined ? empty : text.rule;
  const markers = new Map(open.map((marker): [string, Expression] => [marker, sequence(parts.opened, behind)]));
  const thinking = (then: Expression): Expression =>
    reasoning === undefined ? never : textUntil(new Map([[reasoning.close, then]]), empty, builder);
  if (reasoning !== undefined) markers.set(reasoning.open, thinking(text.rule));
  text.define(textUntil(markers, empty, builder));
  if (bare !== undefined) {
    const beginnings = calls.functions.map(({ name }) => bare.begins(name));
    // Only one piece differs, the name.
    const pieces = beginnings[0]?.map((_, i) => oneOf(beginnings.map((pieces) => pieces[i] ?? "")));
    const other = reasoning === undefined ? "" : `|${escapeRegex(reasoning.open)}`;
    const guard = regexAutomaton(`\\s*(${pieces?.join("\\s*") ?? ""}${other})`, "whole", builder.budget, "the tools");
    const space = builder.repeat(literal("\n"), 0, mostBreaks);
    const thought = reasoning === undefined ? never : sequence(literal(reasoning.open), thinking(start.rule));
    start.define(choice(sequence(space, choice(parts.forced, thought)), textUntil(markers, empty, builder, guard)));
  }
  return reasoning !== undefined && shape.reasoning === "begun" ? thinking(start.rule) : start.rule;
}

/** A regular expression of any of the texts. */
function oneOf(texts: readonly string[]): string {
  return `(${[...new Set(texts)].map(escapeRegex).join("|")})`;
}

/** Any reasoning, where there may be some, and then this. Line breaks between them are the reasoning's. */
function behindReasoning({ format, reasoning }: AnswerShape, answer: Expression, builder: GrammarBuilder): Expression {
  const marks = format.reasoning;
  if (marks === undefined || reasoning === "none") return answer;
  const body = builder.share("answer", answer);
  const layout = builder.repeat(literal("\n"), 0, mostBreaks);
  const thinking = textUntil(new Map([[marks.close, sequence(layout, body)]]), never, builder);
  return reasoning === "begun" ? thinking : choice(body, sequence(literal(marks.open), thinking));
}

/** gpt-oss' messages: any number that think or announce, then the answer or a call, which ends it. */
function harmonyAnswer(
  { calls }: AnswerShape,
  asked: Expression | undefined,
  exact: boolean,
  builder: GrammarBuilder,
): Expression {
  const message = builder.open("message");
  const next = sequence(literal("<|start|>assistant"), message.rule);
  const text = (end: Expression) => textUntil(new Map([["<|end|>", next]]), end, builder);
  const call = calls === undefined ? never : callsOf(calls, harmonyWriting, exact, builder);
  const final = calls?.forced ? never : (asked ?? text(empty));
  message.define(
    choice(
      sequence(
        literal("<|channel|>"),
        choice(literal("analysis"), literal("commentary")),
        literal("<|message|>"),
        text(never),
      ),
      sequence(literal("<|channel|>final<|message|>"), final),
      call,
    ),
  );
  return message.rule;
}

/** A call of any of the functions. */
function callsOf(
  { functions }: OfferedCalls,
  writing: CallWriting,
  exact: boolean,
  builder: GrammarBuilder,
): Expression {
  const { json, form } = writing.arguments(builder);
  const write = ({ isText, param }: OfferedFunction, source: string, strict: boolean): ObjectPart =>
    objectExpression(source, { param: `${param}.parameters`, strict }, builder, json, form(isText));
  const parts = functions.map((each): ObjectPart => {
    if (writing.head(each.name) === undefined) {
      const message = `${each.param}.name: ${each.name} can't be written in this model's syntax of calls`;
      throw new LoquiError("invalid_request", message, { param: `${each.param}.name` });
    }
    const source = each.parameters ?? noArguments;
    if (each.strict) return write(each, source, true);
    if (!exact) return write(each, anyArguments, false);
    try {
      return write(each, source, false);
    } catch (error) {
      if (error instanceof LoquiError) return write(each, anyArguments, false);
      throw error;
    }
  });
  const isPossible = builder.possible();
  const written = functions.map((each, i) => {
    const part = parts[i];
    if (part !== undefined && isPossible(part.expression)) return { name: each.name, arguments: part.expression };
    if (each.strict && part !== undefined) throw part.refusal();
    return { name: each.name, arguments: write(each, anyArguments, false).expression };
  });
  return callChoice(writing, written, builder);
}

const noArguments = '{"type":"object","properties":{},"additionalProperties":false}';
const anyArguments = '{"type":"object"}';
