import type { OutputEvent, OutputParser, Reading } from "./events.ts";

/** The text that is not read yet. */
export interface Source {
  text: string;
  /** Length of the text that is read. */
  at: number;
  ended: boolean;
  /** It ended short, not where the model ended it. */
  cut: boolean;
  /** Text was wanted that was cut off. */
  missing: boolean;
  /** What was taken since a reading began that may turn out to be wrong; it is content then. */
  taken: string | undefined;
}

/**
 * Runs a reading over text that comes in pieces. Written as a generator, a
 * parser needs no states: where the text stops in the middle of something it
 * waits there, so that it can't matter where the text is cut.
 */
export function runReading(read: (source: Source) => Reading<void>): OutputParser {
  const source: Source = { text: "", at: 0, ended: false, cut: false, missing: false, taken: undefined };
  const reading = read(source);
  let settled = 0;
  function run(): OutputEvent[] {
    const events: OutputEvent[] = [];
    for (;;) {
      const { done, value } = reading.next();
      if (done === true || value === undefined) return events;
      events.push(value);
      if (value.type !== "content") settled = source.at;
    }
  }
  return {
    push(text) {
      source.text += text;
      return run();
    },
    end(cut) {
      source.ended = true;
      source.cut = cut;
      return run();
    },
    get settled() {
      return settled;
    },
  };
}

/** Waits for more text. False where there is no more. */
export function* more(source: Source): Reading<boolean> {
  const length = source.text.length;
  while (source.text.length === length && !source.ended) yield undefined;
  if (source.text.length > length) return true;
  source.missing = source.cut;
  return false;
}

/** The next character, which stays unread; empty at the end. */
export function* peek(source: Source): Reading<string> {
  while (source.text === "") if (!(yield* more(source))) return "";
  return source.text.charAt(0);
}

/** Takes the next `count` characters, which must be there. */
export function take(source: Source, count: number): string {
  const taken = source.text.slice(0, count);
  source.text = source.text.slice(count);
  source.at += count;
  if (source.taken !== undefined) source.taken += taken;
  return taken;
}

/** Reads what may turn out not to be there. */
export interface Attempt {
  readonly read: () => Reading<boolean>;
  /** What was taken last, and belongs to it. */
  readonly before?: string;
  /** Whether a text that was cut off before anything of it was read would have gone on to be one; always where absent. */
  readonly mayBecome?: (text: string) => boolean;
}

/** Where it isn't there, all that was taken is content; but not what was cut off and may have become one. */
export function* attempt(source: Source, { read, before = "", mayBecome }: Attempt): Reading<boolean> {
  source.taken = before;
  const found = yield* read();
  const text = source.taken;
  source.taken = undefined;
  if (!found && source.missing && (mayBecome?.(`${text}${source.text}`) ?? true)) {
    take(source, source.text.length);
    return false;
  }
  if (!found && text !== "") yield { type: "content", text, from: source.at - text.length };
  return found;
}

/** Whether the source goes on with one of the texts. */
export function* beginsWith(source: Source, texts: readonly string[]): Reading<boolean> {
  for (;;) {
    const open = texts.filter((text) => text.length > source.text.length && text.startsWith(source.text));
    if (open.length === 0 || !(yield* more(source))) break;
  }
  return texts.some((text) => source.text.startsWith(text));
}

/** Takes one of the texts where the source goes on with it, the longest that fits. */
export function* takeAny(source: Source, texts: readonly string[]): Reading<string | undefined> {
  if (!(yield* beginsWith(source, texts))) return undefined;
  const found = texts.filter((text) => source.text.startsWith(text)).sort((a, b) => b.length - a.length)[0];
  if (found !== undefined) take(source, found.length);
  return found;
}

/** Takes text up to a marker, and the marker; the text as it is. Undefined where the marker doesn't come. */
export function* takeTo(source: Source, marker: string): Reading<string | undefined> {
  let from = 0;
  for (;;) {
    const at = source.text.indexOf(marker, from);
    if (at !== -1) return take(source, at + marker.length).slice(0, at);
    from = Math.max(0, source.text.length - marker.length + 1);
    if (!(yield* more(source))) return undefined;
  }
}

/** Takes white space. */
export function* skipSpace(source: Source): Reading<string> {
  let skipped = "";
  while (/\s/.test(yield* peek(source))) skipped += take(source, 1);
  return skipped;
}

/** Where {@link takeUntil} came to. */
interface Taken {
  readonly marker: string | undefined;
  /** The white space before it, and where that is. */
  readonly space: string;
  readonly spaceFrom: number;
}

/**
 * Takes text up to the first of the markers, and the marker. `onText` makes the
 * events of the text, which comes as soon as it can't be part of a marker. The
 * white space before a marker or the end is not text; it is answered.
 */
export function* takeUntil(
  source: Source,
  markers: readonly string[],
  onText: (text: string, from: number) => OutputEvent,
): Reading<Taken> {
  let space = "";
  for (;;) {
    const at = earliest(source.text, markers);
    const safe = at === undefined ? source.text.length - openLength(source, markers) : at.index;
    const text = space + take(source, safe);
    const said = text.trimEnd();
    space = text.slice(said.length);
    const spaceFrom = source.at - space.length;
    if (said !== "") yield onText(said, spaceFrom - said.length);
    if (at !== undefined) {
      take(source, at.marker.length);
      return { marker: at.marker, space, spaceFrom };
    }
    if (!(yield* more(source))) {
      // What looked like the beginning of a marker was none.
      const rest = space + take(source, source.text.length);
      const last = rest.trimEnd();
      const from = source.at - rest.length;
      if (last !== "") yield onText(last, from);
      return { marker: undefined, space: rest.slice(last.length), spaceFrom: from + last.length };
    }
  }
}

function earliest(text: string, markers: readonly string[]): { index: number; marker: string } | undefined {
  let found: { index: number; marker: string } | undefined;
  for (const marker of markers) {
    const index = text.indexOf(marker);
    if (index === -1) continue;
    const sooner = found === undefined || index < found.index;
    if (sooner || (index === found?.index && marker.length > found.marker.length)) found = { index, marker };
  }
  return found;
}

/** How much of the text's end may be the beginning of a marker. */
function openLength({ text, ended }: Source, markers: readonly string[]): number {
  if (ended) return 0;
  const longest = Math.max(0, ...markers.map((marker) => marker.length - 1));
  for (let length = Math.min(longest, text.length); length > 0; length--) {
    const end = text.slice(text.length - length);
    if (markers.some((marker) => marker.length > length && marker.startsWith(end))) return length;
  }
  return 0;
}
