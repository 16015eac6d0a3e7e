import type { KnownTools } from "./call-syntaxes.ts";
import type { OutputEvent, OutputParser, Reading } from "./events.ts";
import {
  type BareCalls,
  type CallFormat,
  callFormats,
  type ReasoningFormat,
  reasoningFormats,
  toldCalls,
} from "./formats.ts";
import { harmonyTokens, readHarmony } from "./harmony.ts";
import {
  type Attempt,
  attempt,
  beginsWith,
  more,
  peek,
  runReading,
  type Source,
  skipSpace,
  take,
  takeAny,
  takeUntil,
} from "./source.ts";

/** Line breaks between reasoning and an answer of a form; more would be its own. */
export const mostBreaks = 2;

/** How a model writes what is no plain answer, as its template tells. */
export interface OutputFormat {
  readonly calls: CallFormat;
  readonly reasoning: ReasoningFormat | undefined;
  readonly harmony: boolean;
}

/** What a model's chat template tells of its answers; one that doesn't show tools tells nothing of calls. */
export function outputFormatOf(template: string, showsTools = true): OutputFormat {
  const calls = !showsTools ? toldCalls : callFormats.find((format) => format.template.test(template));
  if (calls === undefined) throw new Error("the last format fits every template");
  return {
    calls,
    reasoning: reasoningFormats.find((format) => format.template.test(template)),
    harmony: template.includes("<|channel|>"),
  };
}

export interface OutputParserOptions {
  /** The tools whose calls are looked for; without any, all that is not thought is the answer. */
  readonly tools?: KnownTools | undefined;
  /** The prompt ends within the reasoning. */
  readonly startsInReasoning?: boolean;
  /** A grammar holds the answer to a form: where it begins with no call, all of it is content, whatever stands in it. */
  readonly hasForm?: boolean;
}

/**
 * Tells the names of control tokens that marks of the format are made of. All
 * others that a model draws, such as the beginning of another's turn, are no text.
 * Those of calls are only where there may be some.
 */
export function markTest({ calls, reasoning, harmony }: OutputFormat, hasCalls: boolean): (name: string) => boolean {
  const marks: string[] = hasCalls ? callMarks(calls) : [];
  if (reasoning !== undefined) marks.push(reasoning.open, reasoning.close);
  if (harmony) marks.push(...harmonyTokens);
  return (name) => marks.some((mark) => mark.includes(name));
}

function callMarks({ open, silent = [], writing, tokens = [] }: CallFormat): string[] {
  const { first = "", marker = "", close = "", last = "" } = writing;
  const pieces = [writing.open ?? "", close, writing.head("f") ?? "", writing.tail].flat();
  return [...open, ...silent, first, marker, last, ...pieces, ...tokens];
}

/** Whether a rendered prompt ends where the model goes on thinking. */
export function endsInReasoning(prompt: string, { reasoning }: OutputFormat): boolean {
  return reasoning !== undefined && prompt.lastIndexOf(reasoning.open) > prompt.lastIndexOf(reasoning.close);
}

/**
 * Takes an answer apart: reasoning, text, tool calls. It makes no difference
 * where the text is cut. What begins like a call and is none is text; where the
 * answer was cut off before that was certain, it is left out.
 */
export function createOutputParser(format: OutputFormat, options: OutputParserOptions = {}): OutputParser {
  const parser = runReading((source) => (format.harmony ? readHarmony(source) : readAnswer(source, format, options)));
  return {
    push: (text) => joined(parser.push(text)),
    end: (cut) => joined(parser.end(cut)),
    get settled() {
      return parser.settled;
    },
  };
}

function* readAnswer(
  source: Source,
  { calls, reasoning }: OutputFormat,
  { tools, startsInReasoning = false, hasForm = false }: OutputParserOptions,
): Reading<void> {
  const thought = reasoning === undefined ? [] : [reasoning.open];
  const markers = tools === undefined ? thought : [...thought, ...calls.open, ...(calls.silent ?? [])];
  /** White space around what is no text is layout and no content. */
  let layout = false;
  let said = false;
  let called = false;
  const begins = startsInReasoning || (hasForm && (yield* takeAny(source, thought)) !== undefined);
  if (begins && reasoning !== undefined) {
    yield* readReasoning(source, reasoning);
    if (hasForm) yield* skipBreaks(source);
    else layout = true;
  }
  if (hasForm && (tools === undefined || !(yield* beginsWith(source, markers)))) {
    const { bare } = calls;
    const isCall =
      tools !== undefined && bare !== undefined && (yield* attempt(source, bareCalls(source, bare, tools)));
    if (!isCall) return yield* readAll(source);
  }
  for (;;) {
    if (layout) yield* skipSpace(source);
    if (tools !== undefined && calls.bare !== undefined && !said) {
      const { bare } = calls;
      called = yield* attempt(source, bareCalls(source, bare, tools));
      said = true;
      layout = called;
      if (called) continue;
    }
    const { marker, space, spaceFrom } = yield* takeUntil(source, markers, (text, from) => {
      said = true;
      return { type: "content", text, from };
    });
    if (marker === undefined) {
      if (space !== "") yield { type: "content", text: space, from: spaceFrom };
      return;
    }
    if (marker === reasoning?.open) {
      yield* readReasoning(source, reasoning);
      layout = true;
    } else if (tools !== undefined && calls.open.includes(marker)) {
      said = true;
      called = yield* attempt(source, {
        *read() {
          yield* skipSpace(source);
          return yield* calls.syntax(source, tools);
        },
        before: `${space}${marker}`,
      });
      layout = called;
    } else {
      // A marker around calls.
      layout = called;
      if (!called && space !== "") yield { type: "content", text: space, from: spaceFrom };
    }
  }
}

/** Calls without a marker, where the answer begins with some. */
function bareCalls(source: Source, { begins, syntax }: BareCalls, tools: KnownTools): Attempt {
  return {
    *read() {
      yield* skipSpace(source);
      const next = yield* peek(source);
      return next !== "" && next === begins("")[0] && (yield* syntax(source, tools));
    },
    mayBecome: (text) => tools.names.some((name) => isBeginning(text, begins(name))),
  };
}

/** Whether these pieces, between which there may be white space, begin with a text that is not all white space. */
function isBeginning(text: string, pieces: readonly string[]): boolean {
  let rest = text.trimStart();
  if (rest === "") return false;
  for (const piece of pieces) {
    if (rest.length < piece.length) return piece.startsWith(rest);
    if (!rest.startsWith(piece)) return false;
    rest = rest.slice(piece.length).trimStart();
  }
  return rest === "";
}

/** The rest, as it comes. */
function* readAll(source: Source): Reading<void> {
  do {
    const from = source.at;
    const text = take(source, source.text.length);
    if (text !== "") yield { type: "content", text, from };
  } while (yield* more(source));
}

/** The line breaks that a grammar allows behind the reasoning. */
function* skipBreaks(source: Source): Reading<void> {
  for (let i = 0; i < mostBreaks && (yield* peek(source)) === "\n"; i++) take(source, 1);
}

function* readReasoning(source: Source, { close }: ReasoningFormat): Reading<void> {
  yield* skipSpace(source);
  yield* takeUntil(source, [close], (text) => ({ type: "reasoning", text }));
}

/** Neighbours of one type as one event, unless something was left out between them. */
function joined(events: readonly OutputEvent[]): OutputEvent[] {
  const result: OutputEvent[] = [];
  for (const event of events) {
    const last = result.at(-1);
    const isNext =
      last !== undefined &&
      event.type !== "call" &&
      last.type === event.type &&
      (event.type !== "content" || last.type !== "content" || last.from + last.text.length === event.from);
    if (isNext) result[result.length - 1] = { ...last, text: `${last.text}${event.text}` };
    else result.push(event);
  }
  return result;
}
