import type { Reading } from "./events.ts";
import { parse, streamValue, takeSeparator, takeString, takeValue } from "./json-reading.ts";
import { gemmaArguments, pythonArguments } from "./literals.ts";
import { attempt, more, peek, type Source, skipSpace, take, takeAny, takeTo } from "./source.ts";

/** The tools that a request offers. */
export interface KnownTools {
  readonly names: readonly string[];
  has(name: string): boolean;
  /** The JSON type of a parameter where its schema names one. */
  parameterType(tool: string, parameter: string): string | undefined;
}

/**
 * Takes one or more calls. False where there is none: nothing is yielded then,
 * and `source.taken` is what it took for one.
 */
export type CallSyntax = (source: Source, tools: KnownTools) => Reading<boolean>;

/** From here on it is a call, whatever follows. */
function* begin(source: Source, name: string, id?: string): Reading<void> {
  source.taken = undefined;
  yield { type: "call", name, ...(id !== undefined && { id }) };
}

/** A call that was cut off behind its name: what is left says nothing of its arguments. */
function* beginCut(source: Source, name: string, id?: string): Reading<void> {
  take(source, source.text.length);
  yield* begin(source, name, id);
}

const nameKeys = ["name", "tool_name", "function_name"];
const argumentKeys = ["arguments", "parameters", "args", "input"];
const idKeys = ["id", "tool_call_id"];
const wrapperKeys = ["function", "tool_call", "function_call"];

/**
 * An object with a name and arguments, in any order, perhaps inside another:
 * `{"name": "f", "arguments": {…}}`, `{"function": {…}}`. The arguments are handed
 * on as they come once the name is known; those in a string are taken out of it.
 * Where the text was cut off behind the name, it is a call without the rest.
 */
export function jsonCall(options: { readonly onlyKnown?: boolean } = {}): CallSyntax {
  return function* read(source, tools): Reading<boolean> {
    if ((yield* peek(source)) !== "{") return false;
    take(source, 1);
    let name: string | undefined;
    let id: string | undefined;
    let held: string | undefined;
    let begun = false;
    let said = false;
    function* broken(): Reading<boolean> {
      if (begun || name === undefined || !source.missing) return begun;
      yield* beginCut(source, name, id);
      if (held !== undefined) yield { type: "arguments", text: held };
      return true;
    }
    yield* skipSpace(source);
    if ((yield* peek(source)) === "}") return false;
    for (;;) {
      const key = yield* takeString(source);
      yield* skipSpace(source);
      if (key === undefined || (yield* peek(source)) !== ":") return yield* broken();
      take(source, 1);
      yield* skipSpace(source);
      const next = yield* peek(source);
      if (nameKeys.includes(key) && next === '"') {
        name = yield* takeString(source);
        if (name === undefined || (options.onlyKnown && !tools.has(name))) return begun;
      } else if (idKeys.includes(key) && next === '"') id = yield* takeString(source);
      else if (wrapperKeys.includes(key) && next === "{" && !begun) {
        begun = yield* read(source, tools);
        if (!begun) return false;
        said = true;
      } else if (argumentKeys.includes(key) && !said) {
        if (name !== undefined && !begun) {
          yield* begin(source, name, id);
          begun = true;
        }
        if (next === '"') held = yield* takeString(source);
        else if (!begun) held = yield* takeValue(source);
        else if (!(yield* streamValue(source, (text) => ({ type: "arguments", text })))) return true;
        else said = true;
        if (begun && held !== undefined) {
          yield { type: "arguments", text: held };
          said = true;
        }
      } else yield* takeValue(source);
      const separator = yield* takeSeparator(source, "}");
      if (separator === undefined) return yield* broken();
      if (separator === "}") break;
    }
    if (!begun) {
      if (name === undefined) return false;
      yield* begin(source, name, id);
    }
    if (!said) yield { type: "arguments", text: held ?? "{}" };
    return true;
  };
}

/** Calls one after the other, with white space or these separators between them. */
export function sequenceOf(call: CallSyntax, separators: readonly string[]): CallSyntax {
  return function* (source, tools) {
    if (!(yield* call(source, tools))) return false;
    for (;;) {
      yield* skipSpace(source);
      if (separators.length > 0 && (yield* takeAny(source, separators)) === undefined) return true;
      yield* skipSpace(source);
      if (!(yield* attempt(source, { read: () => call(source, tools) }))) return true;
    }
  };
}

/** A JSON list of calls, or a call without a list around it. */
export function listOf(call: CallSyntax): CallSyntax {
  return function* (source, tools) {
    if ((yield* peek(source)) !== "[") return yield* call(source, tools);
    take(source, 1);
    yield* skipSpace(source);
    if (!(yield* call(source, tools))) return false;
    while ((yield* takeSeparator(source, "]")) === ",") {
      if (!(yield* attempt(source, { read: () => call(source, tools) }))) break;
    }
    return true;
  };
}

/** Calls as the one member of an object. */
export function wrapped(key: string, calls: CallSyntax): CallSyntax {
  return function* (source, tools) {
    if ((yield* peek(source)) !== "{") return false;
    take(source, 1);
    yield* skipSpace(source);
    if ((yield* takeString(source)) !== key) return false;
    yield* skipSpace(source);
    if ((yield* takeAny(source, [":"])) === undefined) return false;
    yield* skipSpace(source);
    if (!(yield* calls(source, tools))) return false;
    yield* skipSpace(source);
    yield* takeAny(source, ["}"]);
    return true;
  };
}

/** One syntax where the text goes on with a character of `first`, else another. */
export function either(first: string, syntax: CallSyntax, other: CallSyntax): CallSyntax {
  return function* (source, tools) {
    const next = yield* peek(source);
    return yield* next !== "" && first.includes(next) ? syntax(source, tools) : other(source, tools);
  };
}

/** A name, a marker, JSON: `f[ARGS]{…}`. `header` reads the name, and perhaps an id, from what stands before the marker. */
export function namedJson(marker: string, header: (text: string) => { name: string; id?: string }): CallSyntax {
  return function* (source) {
    const text = yield* takeTo(source, marker);
    if (text === undefined) return false;
    const { name, id } = header(text);
    if (name === "") return false;
    yield* begin(source, name, id);
    yield* skipSpace(source);
    yield* streamValue(source, (piece) => ({ type: "arguments", text: piece }));
    return true;
  };
}

/** DeepSeek: the name behind a separator, the arguments in a fenced block; from V3.1 on the name before it, and no fence. */
export function* deepSeekCall(source: Source): Reading<boolean> {
  const header = (yield* takeTo(source, "<｜tool▁sep｜>"))?.trim();
  if (header === undefined) return false;
  const fenced = header === "function";
  const name = fenced ? (yield* takeTo(source, "\n"))?.trim() : header;
  if (name === undefined || name === "") return false;
  if (fenced) yield* takeAny(source, ["```json\n"]);
  yield* begin(source, name);
  // Cut off within the fence.
  if (source.missing) take(source, source.text.length);
  yield* skipSpace(source);
  yield* streamValue(source, (text) => ({ type: "arguments", text }));
  yield* skipSpace(source);
  if (fenced) yield* takeAny(source, ["```"]);
  return true;
}

/** How a syntax of tags writes a call: what stands around the name, the names of parameters and their values. */
export interface TagSyntax {
  readonly open: string;
  readonly nameEnd: readonly string[];
  readonly parameter: string;
  readonly parameterNameEnd: string;
  readonly valueBegin?: string;
  readonly valueEnd: string;
  readonly close: string;
}

/** A call as tags, a pair for each parameter. What a parameter's schema says is a string is one; anything else is JSON where it can be. Arguments that were cut off stay open. */
export function tagCall(tags: TagSyntax): CallSyntax {
  return function* (source, tools) {
    if (tags.open !== "" && (yield* takeAny(source, [tags.open])) === undefined) return false;
    const name = (yield* takeName(source, tags.nameEnd))?.trim();
    if (name === undefined || name === "" || name.includes("<")) return false;
    yield* begin(source, name);
    let separator = "{";
    for (;;) {
      yield* skipSpace(source);
      const tag = yield* takeAny(
        source,
        [tags.parameter, tags.close].filter((text) => text !== ""),
      );
      if (tag !== tags.parameter) break;
      const parameter = yield* takeTo(source, tags.parameterNameEnd);
      if (tags.valueBegin !== undefined) {
        yield* skipSpace(source);
        yield* takeAny(source, [tags.valueBegin]);
      }
      const value = yield* takeTo(source, tags.valueEnd);
      if (parameter === undefined || value === undefined) break;
      const key = parameter.trim();
      yield {
        type: "arguments",
        text: `${separator}${JSON.stringify(key)}: ${jsonOf(value, tools.parameterType(name, key))}`,
      };
      separator = ", ";
    }
    if (source.missing) take(source, source.text.length);
    else yield { type: "arguments", text: separator === "{" ? "{}" : "}" };
    return true;
  };
}

/** Takes a name up to one of the ends; an end that is an opening tag stays. */
function* takeName(source: Source, ends: readonly string[]): Reading<string | undefined> {
  for (;;) {
    const at = Math.min(...ends.map((end) => source.text.indexOf(end)).map((i) => (i === -1 ? Infinity : i)));
    if (at !== Infinity) {
      const name = take(source, at);
      if (!source.text.startsWith("<")) take(source, 1);
      return name;
    }
    if (!(yield* more(source))) return undefined;
  }
}

function jsonOf(value: string, type: string | undefined): string {
  // One line break after the tag and one before the next are the layout's.
  const text = value.replace(/^\n/, "").replace(/\n$/, "");
  if (type === "string") return JSON.stringify(text);
  const json = text.trim();
  return json !== "" && parse(json) !== undefined ? json : JSON.stringify(text);
}

/** Python calls in a list: `[f(a=1, b="x"), g()]`. The arguments come call by call. */
export function pythonCalls(options: { readonly onlyKnown?: boolean } = {}): CallSyntax {
  return function* (source, tools) {
    const bracketed = (yield* peek(source)) === "[";
    if (bracketed) take(source, 1);
    let any = false;
    for (;;) {
      yield* skipSpace(source);
      const name = (yield* takeTo(source, "("))?.trim();
      if (any && source.missing) take(source, source.text.length);
      if (name === undefined || !/^[\p{L}_][\p{L}\p{N}_.-]*$/u.test(name)) return any;
      if (options.onlyKnown && !tools.has(name)) return any;
      const text = yield* takeBalanced(source);
      if (text === undefined && source.missing) {
        yield* beginCut(source, name);
        return true;
      }
      const json = text === undefined ? undefined : pythonArguments(text);
      if (json === undefined) return any;
      yield* begin(source, name);
      yield { type: "arguments", text: json };
      any = true;
      if ((yield* takeSeparator(source, "]")) !== ",") return true;
    }
  };
}

/** Takes what stands before the parenthesis that closes one that was taken; strings are not looked into. */
function* takeBalanced(source: Source): Reading<string | undefined> {
  let at = 0;
  let depth = 1;
  let quote = "";
  for (;;) {
    for (; at < source.text.length; at++) {
      const c = source.text.charAt(at);
      if (quote !== "") {
        if (c === "\\") {
          if (at + 1 === source.text.length) break;
          at++;
        } else if (c === quote) quote = "";
      } else if (c === '"' || c === "'") quote = c;
      else if ("([{".includes(c)) depth++;
      else if (")]}".includes(c) && --depth === 0) return take(source, at + 1).slice(0, -1);
    }
    if (!(yield* more(source))) return undefined;
  }
}

/** Gemma: `call:f{a:<escape>text<escape>,b:3}` up to `end`, strings between two of `quote`. */
export function gemmaCall(quote: string, end: string): CallSyntax {
  return function* (source) {
    yield* takeAny(source, ["call:"]);
    const text = yield* takeTo(source, end);
    const brace = (text ?? source.text).indexOf("{");
    if (brace < 1) return false;
    if (text === undefined) {
      if (!source.missing) return false;
      yield* beginCut(source, source.text.slice(0, brace).trim());
      return true;
    }
    const json = gemmaArguments(text.slice(brace), quote);
    if (json === undefined) return false;
    yield* begin(source, text.slice(0, brace).trim());
    yield { type: "arguments", text: json };
    return true;
  };
}
