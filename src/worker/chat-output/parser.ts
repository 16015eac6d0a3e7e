import type { KnownTools } from "./call-syntaxes.ts";
import type { OutputEvent, OutputParser, Reading } from "./events.ts";
import { type CallFormat, callFormats, type ReasoningFormat, reasoningFormats } from "./formats.ts";
import { readHarmony } from "./harmony.ts";
import { attempt, peek, runReading, type Source, skipSpace, takeUntil } from "./source.ts";

/** How a model writes what is no plain answer, as its template tells. */
export interface OutputFormat {
  readonly calls: CallFormat;
  readonly reasoning: ReasoningFormat | undefined;
  readonly harmony: boolean;
}

/** What a model's chat template tells of its answers. */
export function outputFormatOf(template: string): OutputFormat {
  const calls = callFormats.find((format) => format.template.test(template));
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
}

/** Whether a rendered prompt ends where the model goes on thinking. */
export function endsInReasoning(prompt: string, { reasoning }: OutputFormat): boolean {
  return reasoning !== undefined && prompt.lastIndexOf(reasoning.open) > prompt.lastIndexOf(reasoning.close);
}

/**
 * Takes an answer apart: reasoning, text, tool calls. It makes no difference
 * where the text is cut. What begins like a call and is none is text.
 */
export function createOutputParser(format: OutputFormat, options: OutputParserOptions = {}): OutputParser {
  const parser = runReading((source) => (format.harmony ? readHarmony(source) : readAnswer(source, format, options)));
  return {
    push: (text) => joined(parser.push(text)),
    end: () => joined(parser.end()),
  };
}

function* readAnswer(
  source: Source,
  { calls, reasoning }: OutputFormat,
  { tools, startsInReasoning = false }: OutputParserOptions,
): Reading<void> {
  const thought = reasoning === undefined ? [] : [reasoning.open];
  const markers = tools === undefined ? thought : [...thought, ...calls.open, ...(calls.silent ?? [])];
  /** White space around what is no text is layout and no content. */
  let layout = false;
  let said = false;
  let called = false;
  if (startsInReasoning && reasoning !== undefined) {
    yield* readReasoning(source, reasoning);
    layout = true;
  }
  for (;;) {
    if (layout) yield* skipSpace(source);
    if (tools !== undefined && calls.bare !== undefined && !said) {
      called = yield* attempt(source, function* () {
        yield* skipSpace(source);
        const next = yield* peek(source);
        return next !== "" && calls.bare?.first.includes(next) === true && (yield* calls.bare.syntax(source, tools));
      });
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
      const before = `${space}${marker}`;
      called = yield* attempt(
        source,
        function* () {
          yield* skipSpace(source);
          return yield* calls.syntax(source, tools);
        },
        before,
      );
      layout = called;
    } else {
      // A marker around calls.
      layout = called;
      if (!called && space !== "") yield { type: "content", text: space, from: spaceFrom };
    }
  }
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
