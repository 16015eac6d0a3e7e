/** Items that have been read and aren't answered to their reader yet, and the text they may have together. */
const maxItems = 256;
const maxBytes = 4 * 1024 * 1024;
/** Answers that wait for the reader, and their bytes together, above which no more are taken of the backend. */
const maxAnswers = 64;
const maxAnswerBytes = 4 * 1024 * 1024;

/**
 * The items of a stream between its reader, its senders and its writer, none of
 * which runs ahead of the others. Each wait ends when {@link fail} is called,
 * with that error.
 */
export interface ItemWindow<Item, Answer> {
  /** Waits until another item may be read. */
  room(): Promise<void>;
  /** Adds an item, of so many bytes. */
  add(item: Item, bytes: number): void;
  /** Adds one that has its answer already. */
  addAnswered(answer: Answer): void;
  /** No more items come. */
  end(): void;
  /** Waits for items, and takes those that have come, up to a number; none at the end. To be disposed of when they are done with. */
  take(most: number): Promise<Taken<Item>>;
  /** Adds an item's answer, of so many bytes. */
  answer(answer: Answer, bytes: number): void;
  /** Waits until the writer has taken most of the answers; undefined where it has. */
  readerReady(): Promise<void> | undefined;
  /** Waits for an answer; undefined when all items have theirs and no more come. */
  nextAnswer(): Promise<Answer | undefined>;
  /** The last answer has been written: there is room for another item. */
  answered(): void;
  /** Ends it; the first error counts. */
  fail(error: unknown): void;
}

/** Items that a sender has; until they are disposed of, their bytes are counted. */
export interface Taken<Item> extends Disposable {
  readonly items: readonly Item[];
}

export function createItemWindow<Item, Answer>(): ItemWindow<Item, Answer> {
  const waiting: { readonly item: Item; readonly bytes: number }[] = [];
  const answers: { readonly answer: Answer; readonly bytes: number }[] = [];
  let bytes = 0;
  let answerBytes = 0;
  /** Items that were read and whose answers aren't written. */
  let open = 0;
  let ended = false;
  let failure: { readonly error: unknown } | undefined;
  let waiters: (() => void)[] = [];

  /** Wakes all who wait, to look again. */
  function changed(): void {
    const woken = waiters;
    waiters = [];
    for (const wake of woken) wake();
  }

  async function until(ready: () => boolean): Promise<void> {
    for (;;) {
      if (failure !== undefined) throw failure.error;
      if (ready()) return;
      await new Promise<void>((resolve) => waiters.push(resolve));
    }
  }

  function add(answer: Answer, size: number): void {
    answers.push({ answer, bytes: size });
    answerBytes += size;
    changed();
  }

  const mayAnswer = () => answers.length < maxAnswers && answerBytes < maxAnswerBytes;

  return {
    room: () => until(() => open < maxItems && bytes < maxBytes),
    add(item, size) {
      waiting.push({ item, bytes: size });
      bytes += size;
      open += 1;
      changed();
    },
    addAnswered(answer) {
      open += 1;
      add(answer, 0);
    },
    end() {
      ended = true;
      changed();
    },
    async take(most) {
      await until(() => waiting.length > 0 || ended);
      const taken = waiting.splice(0, most);
      return {
        items: taken.map(({ item }) => item),
        [Symbol.dispose]() {
          for (const { bytes: size } of taken) bytes -= size;
          changed();
        },
      };
    },
    answer: add,
    readerReady: () => (mayAnswer() ? undefined : until(mayAnswer)),
    async nextAnswer() {
      await until(() => answers.length > 0 || (ended && open === 0));
      const next = answers.shift();
      answerBytes -= next?.bytes ?? 0;
      return next?.answer;
    },
    answered() {
      open -= 1;
      changed();
    },
    fail(error) {
      failure ??= { error };
      changed();
    },
  };
}
