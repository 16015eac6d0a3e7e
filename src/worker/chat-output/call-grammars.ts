import { type Automaton, combine, isEmpty, lengthAutomaton } from "../grammar/automaton.ts";
import { automatonExpression, plain } from "../grammar/automaton-grammar.ts";
import { textsWithout, textUntil } from "../grammar/free-text.ts";
import { choice, type Expression, empty, type GrammarBuilder, literal, never, sequence } from "../grammar/gbnf.ts";
import { createJsonRules, type JsonRules, type ObjectForm, type TextRules } from "../grammar/json-rules.ts";
import { gemmaNotation, jsonNotation, pythonNotation } from "../grammar/notations.ts";
import { regexAutomaton } from "../grammar/regex.ts";
import { textChoice } from "../grammar/text-choice.ts";

/**
 * How a family writes calls, so that a grammar can hold them to it. What the
 * {@link CallSyntax} beside it reads may be more.
 */
export interface CallWriting {
  /** Before the first of forced calls. */
  readonly first?: string;
  /** One of the format's markers, before a call, or before several where there is a `separator`. Absent where calls begin the answer. */
  readonly marker?: string;
  /** What opens the calls behind a marker. */
  readonly open?: Spaced;
  /** Between calls behind one marker. Without it each has a marker of its own. */
  readonly separator?: string;
  /** What closes the calls behind a marker. */
  readonly close?: Spaced;
  /** Behind the last of forced calls. */
  readonly last?: string;
  /** What stands before a function's arguments; undefined where its name can't be written. */
  readonly head: (name: string) => Spaced | undefined;
  readonly tail: Spaced;
  readonly arguments: ArgumentSyntax;
}

/** A text, or the pieces of one between which there may be white space. */
export type Spaced = string | readonly string[];

/** How the arguments of calls are written. */
export type ArgumentSyntax = (builder: GrammarBuilder) => ArgumentWriter;

export interface ArgumentWriter {
  /** The values. */
  readonly json: JsonRules;
  /** The object that holds them; `isText` tells the parameters whose schema says that they are strings. */
  form(isText: (parameter: string) => boolean): ObjectForm;
}

/** An object with a name and arguments, the latter by this name. */
export function jsonHead(argumentsKey: string): CallWriting["head"] {
  return (name) => ["{", '"name":', `${JSON.stringify(name)},`, `"${argumentsKey}":`, ""];
}

export const jsonTail: Spaced = ["", "}"];

/** A name between two texts, neither of which it may hold. */
export function plainHead(before: string, after: string): CallWriting["head"] {
  return (name) => (/^[^\s<>{}[\](),|｜]+$/u.test(name) ? `${before}${name}${after}` : undefined);
}

export const jsonArguments: ArgumentSyntax = (builder) => {
  const json = createJsonRules(builder, jsonNotation(builder));
  return { json, form: () => json.form };
};

/** Gemma's objects; `end` ends the call, wherever it stands. */
export function gemmaObject(quote: string, end: string): ArgumentSyntax {
  return (builder) => {
    const json = createJsonRules(builder, gemmaNotation(builder, quote, end));
    return { json, form: () => json.form };
  };
}

/** Python's keyword arguments, without the parentheses. */
export const keywordArguments: ArgumentSyntax = (builder) => {
  const json = createJsonRules(builder, pythonNotation(builder));
  const identifiers = () => regexAutomaton("[A-Za-z_][A-Za-z0-9_]*", "whole", builder.budget, "a name");
  const form: ObjectForm = {
    wrap: (members) => members,
    between: literal(", "),
    member: (name, value) => (/^[\p{L}_][\p{L}\p{N}_]*$/u.test(name) ? sequence(literal(`${name}=`), value) : never),
    anyMember: (names, value) => sequence(spelt(names, identifiers(), builder), literal("="), value),
  };
  return { json, form: () => form };
};

/** How a parameter and its value stand in tags. */
export interface TagLayout {
  /** What stands before the value of a parameter. */
  readonly before: string;
  /** What stands behind the name in it. */
  readonly afterName: string;
  /** What stands behind the value, ending with `valueEnd`. */
  readonly after: string;
  /** What ends a value wherever it stands. */
  readonly valueEnd: string;
}

/** A pair of tags for each parameter: strings as they are, all others in JSON without `<`. */
export function tagArguments({ before, afterName, after, valueEnd }: TagLayout): ArgumentSyntax {
  return (builder) => {
    const { budget } = builder;
    const json = createJsonRules(builder, jsonNotation(builder, "<"));
    const names = () => regexAutomaton("[^\\s<>]+", "whole", budget, "a name");
    // The reader takes a line break at either end for layout.
    const texts = () =>
      combine(
        textsWithout([valueEnd], budget),
        regexAutomaton("([^\\n]([\\s\\S]*[^\\n])?)?", "whole", budget, "a value"),
        "and",
        budget,
      );
    const behind = literal(`${after}\n`);
    const text = ({ values, automaton, min, max }: TextRules): Expression => {
      if (values !== undefined) {
        return sequence(
          textChoice(
            values.filter((value) => !value.includes(valueEnd) && value.trim() === value),
            builder,
          ),
          behind,
        );
      }
      if (automaton === undefined && min === 0 && max === undefined) {
        const [layout] = after.split(valueEnd);
        const ends = new Map([[after, literal("\n")]]);
        if (layout !== "") ends.set(valueEnd, never);
        return textUntil(ends, never, builder);
      }
      const bare = combine(automaton ?? lengthAutomaton(min, max, budget), texts(), "and", budget);
      return isEmpty(bare) ? never : sequence(builder.share("text", automatonExpression(bare, plain, builder)), behind);
    };
    const form = (isText: (parameter: string) => boolean): ObjectForm => ({
      wrap: (members) => members,
      between: empty,
      member(name, value) {
        if (!/^[^\s<>]+$/u.test(name)) return never;
        return sequence(literal(`${before}${name}${afterName}`), value, isText(name) ? empty : behind);
      },
      anyMember: (chosen, value) =>
        sequence(literal(before), spelt(chosen, names(), builder), literal(afterName), value, behind),
      ownValue: (name) => (isText(name) ? text : undefined),
    });
    return { json, form };
  };
}

/** The names that can be spelt, out of those that are meant. */
function spelt(names: Automaton | undefined, possible: Automaton, builder: GrammarBuilder): Expression {
  const both = names === undefined ? possible : combine(names, possible, "and", builder.budget);
  return isEmpty(both) ? never : builder.share("name", automatonExpression(both, plain, builder));
}

/** Calls as a part of a grammar. */
export interface CallParts {
  /** One or more calls, as an answer that must have some. */
  readonly forced: Expression;
  /** What follows a marker. */
  readonly opened: Expression;
}

/** The grammar of calls; `call` is any one of them. With `single` there is one. Layout is as readers take it, not only as templates write it. */
export function callParts(writing: CallWriting, call: Expression, single: boolean, builder: GrammarBuilder): CallParts {
  const { first = "", marker, open = "", separator, close = "", last = "" } = writing;
  const one = builder.share("call", call);
  const gap = layout(builder);
  const more = (item: Expression): Expression =>
    single ? empty : builder.repeat(builder.share("calls", item), 0, undefined);
  const others = separator === undefined ? empty : more(sequence(literal(separator), gap, one));
  const ending = close === "" ? empty : sequence(gap, spaced(close, gap));
  const group = sequence(spaced(open, gap), one, others, ending);
  const opened = sequence(gap, group);
  if (marker === undefined) return { forced: group, opened };
  const marked = sequence(literal(marker), opened);
  const next = separator === undefined ? more(sequence(gap, marked)) : empty;
  return { forced: sequence(literal(first), marked, next, literal(last)), opened };
}

/** A choice of calls. */
export function callChoice(
  { head, tail }: CallWriting,
  functions: readonly { readonly name: string; readonly arguments: Expression }[],
  builder: GrammarBuilder,
): Expression {
  const gap = layout(builder);
  return choice(
    ...functions.map((each) => {
      const before = head(each.name);
      return before === undefined ? never : sequence(spaced(before, gap), each.arguments, spaced(tail, gap));
    }),
  );
}

/** White space as it is around calls: none, a space, or a line break and indentation as in JSON over several lines. */
function layout(builder: GrammarBuilder): Expression {
  const indent = builder.repeat(literal(" "), 0, mostIndent);
  return builder.share("gap", choice(empty, literal(" "), sequence(literal("\n"), indent)));
}

const mostIndent = 16;

function spaced(text: Spaced, gap: Expression): Expression {
  return sequence(...piecesOf(text).flatMap((piece, i) => (i === 0 ? [literal(piece)] : [gap, literal(piece)])));
}

function piecesOf(text: Spaced): readonly string[] {
  return typeof text === "string" ? [text] : text;
}

/** A call in a text, its arguments in JSON. */
export interface WrittenCall {
  readonly name: string;
  readonly args: string;
}

/** Calls as the grammar has them; undefined where this syntax doesn't write arguments as JSON, or not one of the names. */
export function callsText(writing: CallWriting, calls: readonly WrittenCall[]): string | undefined {
  if (writing.arguments !== jsonArguments) return undefined;
  const { first = "", marker = "", open = "", separator, close = "", last = "", tail } = writing;
  const items: string[] = [];
  for (const { name, args } of calls) {
    const head = writing.head(name);
    if (head === undefined) return undefined;
    items.push(`${inline(head)}${args}${piecesOf(tail).join("")}`);
  }
  const group = (text: string) => `${marker}${inline(open)}${text}${piecesOf(close).join("")}`;
  const groups = separator === undefined ? items.map(group).join("\n") : group(items.join(`${separator} `));
  return `${first}${groups}${last}`;
}

/** The pieces on one line, spaced as JSON mostly is. */
function inline(text: Spaced): string {
  return piecesOf(text).reduce((line, piece) => `${line}${/[[{]$/.test(line) ? "" : " "}${piece}`);
}
