/** What a model says, taken apart, in order. Texts come in any number of pieces. */
export type OutputEvent =
  /** A part of the answer, as it stands in the model's text; `from` is where, in UTF-16 units from the beginning. */
  | { readonly type: "content"; readonly text: string; readonly from: number }
  /** A part of what it thinks before it answers. */
  | { readonly type: "reasoning"; readonly text: string }
  /** A tool call begins. Its id where the syntax has one. */
  | { readonly type: "call"; readonly name: string; readonly id?: string }
  /** A part of the arguments, JSON text, of the call that began last. */
  | { readonly type: "arguments"; readonly text: string };

/** A generator that reads a {@link Source}: it yields events, and `undefined` where it needs more text. */
export type Reading<T> = Generator<OutputEvent | undefined, T, void>;

/** Takes a model's text apart as it comes. */
export interface OutputParser {
  push(text: string): OutputEvent[];
  /** The text is complete, or `cut` short: what it began and didn't come to is no text then. */
  end(cut: boolean): OutputEvent[];
  /** Before this place in the text nothing will be content any more, beside what was. In UTF-16 units; it lags behind. */
  readonly settled: number;
}
