import assert from "node:assert/strict";
import type {
  DecodeRow,
  LogitsHandle,
  ModelInfo,
  Sampler,
  SamplerChange,
  Sampling,
  TokenEngine,
  TokenLogprobs,
  TokenTextDecoder,
} from "../../src/engines/token-engine.ts";

/** What a fake engine was asked to do, in order. */
export type EngineEvent =
  | { readonly kind: "decode"; readonly rows: readonly { sequence: number; position: number; tokens: number[] }[] }
  | { readonly kind: "change"; readonly change: SamplerChange }
  | { readonly kind: "truncate"; readonly sequence: number; readonly length: number }
  | { readonly kind: "copy"; readonly source: number; readonly target: number; readonly length: number };

export interface FakeEngineOptions {
  readonly sequences?: number;
  readonly contextLength?: number;
  readonly batchSize?: number;
  /** The token that follows what a sequence holds; by default {@link continuation}. */
  readonly next?: (held: readonly number[]) => number;
  /** Called in each decode after the batch is checked; may wait or throw. */
  readonly onDecode?: (decode: number) => unknown;
}

/** Ends a generation. */
export const eog = 9_999;

/** A token that depends on all tokens before it: a wrong cell anywhere changes the text. */
export function continuation(held: readonly number[]): number {
  let hash = 7;
  for (const token of held) hash = (hash * 31 + token) % 9_973;
  return hash;
}

/** The token that a sampler with this seed draws where one with the seed 0 draws `token`. */
export function withSeed(token: number, seed: number): number {
  return (token + seed) % 9_973;
}

/** What an engine without slots, batches and caches would generate. */
export function expected(prompt: readonly number[], count: number, next = continuation): number[] {
  const held = [...prompt];
  for (let index = 0; index < count; index++) held.push(next(held));
  return held.slice(prompt.length);
}

/**
 * A token engine whose every answer is a pure function of the cells, and which
 * refuses whatever breaks the engine's contract.
 */
export class FakeEngine implements TokenEngine {
  readonly info: ModelInfo = {
    architecture: "fake",
    parameters: 0,
    trainContextLength: 0,
    vocabularySize: 10_000,
    embeddingSize: 0,
    sizeBytes: 0,
    longestTokenBytes: 1,
    chatTemplate: undefined,
    bosToken: "",
    eosToken: "",
    addBos: false,
    fillIn: undefined,
    license: undefined,
    description: undefined,
    threads: 1,
  };
  readonly sequences: number;
  readonly contextLength: number;
  readonly batchSize: number;
  readonly events: EngineEvent[] = [];
  samplers = 0;
  readonly #cells: number[][];
  readonly #options: FakeEngineOptions;
  #decoding = false;
  #decodes = 0;
  #logits = new Map<number, number>();
  readonly #seeds = new WeakMap<Sampler, number>();

  constructor(options: FakeEngineOptions = {}) {
    this.#options = options;
    this.sequences = options.sequences ?? 2;
    this.contextLength = options.contextLength ?? 4_096;
    this.batchSize = options.batchSize ?? 64;
    this.#cells = Array.from({ length: this.sequences }, () => []);
  }

  /** The batches so far: per row the sequence and the number of tokens. */
  get batches(): [sequence: number, tokens: number][][] {
    return this.events.flatMap((event) =>
      event.kind === "decode" ? [event.rows.map((row): [number, number] => [row.sequence, row.tokens.length])] : [],
    );
  }

  refusal(_text: string): string | undefined {
    return undefined;
  }

  tokenize(text: string): Uint32Array {
    return Uint32Array.from(Buffer.from(text));
  }

  tokenizePieces(text: string): Iterable<Uint32Array> {
    return [this.tokenize(text)];
  }

  detokenize(tokens: Uint32Array): string {
    return Buffer.from(tokens).toString();
  }

  createTextDecoder(): TokenTextDecoder {
    return { push: (token) => String.fromCharCode(token), flush: () => "" };
  }

  tokenBytes(token: number): Uint8Array {
    return Buffer.from(String.fromCharCode(token));
  }

  isEndOfGeneration(token: number): boolean {
    return token === eog;
  }

  createSampler({ seed }: Sampling): Sampler {
    this.samplers += 1;
    const sampler = {
      dispose: () => {
        this.samplers -= 1;
      },
    };
    this.#seeds.set(sampler, seed);
    return sampler;
  }

  changeSampler(_sampler: Sampler, change: SamplerChange): void {
    this.events.push({ kind: "change", change });
  }

  async decode(rows: readonly DecodeRow[]): Promise<LogitsHandle[][]> {
    this.#enter();
    this.events.push({
      kind: "decode",
      rows: rows.map((row) => ({ sequence: row.sequence, position: row.position, tokens: [...row.tokens] })),
    });
    assert.ok(rows.length > 0);
    assert.equal(new Set(rows.map((row) => row.sequence)).size, rows.length);
    assert.ok(rows.reduce((sum, row) => sum + row.tokens.length, 0) <= this.batchSize);
    await new Promise(setImmediate);
    await this.#options.onDecode?.(this.#decodes++);
    this.#logits = new Map();
    const handles = rows.map((row, index) => {
      const cells = this.#sequence(row.sequence);
      assert.equal(row.position, cells.length);
      assert.ok(row.tokens.length > 0);
      assert.ok(row.logits <= row.tokens.length);
      cells.push(...row.tokens);
      assert.ok(cells.length <= this.contextLength);
      return Array.from({ length: row.logits }, (_, place) => {
        const handle = (this.#decodes * 1_000 + index) * 1_000 + place;
        const held = cells.slice(0, cells.length - row.logits + place + 1);
        this.#logits.set(handle, (this.#options.next ?? continuation)(held));
        return handle as LogitsHandle;
      });
    });
    this.#decoding = false;
    return handles;
  }

  async sample(logits: LogitsHandle, sampler: Sampler): Promise<number> {
    const token = this.#logits.get(logits);
    assert.ok(token !== undefined, "the logits are of another decode");
    return token === eog ? eog : withSeed(token, this.#seeds.get(sampler) ?? 0);
  }

  /** The farther from the token that comes next, the less likely. */
  async logprobs(logits: LogitsHandle, token: number, top: number): Promise<TokenLogprobs> {
    const next = this.#logits.get(logits);
    assert.ok(next !== undefined, "the logits are of another decode");
    const likeliest = Array.from({ length: top }, (_, rank) => ({ token: next + rank, logprob: -rank }));
    return { token, logprob: -Math.abs(token - next), top: likeliest };
  }

  async truncate(sequence: number, length: number): Promise<boolean> {
    assert.ok(!this.#decoding || length === 0);
    this.#decoding = false;
    this.events.push({ kind: "truncate", sequence, length });
    this.#sequence(sequence).splice(length);
    return true;
  }

  async copyPrefix(source: number, target: number, length: number): Promise<boolean> {
    assert.ok(!this.#decoding);
    assert.notEqual(source, target);
    this.events.push({ kind: "copy", source, target, length });
    const cells = this.#sequence(source).slice(0, length);
    assert.equal(cells.length, length);
    this.#sequence(target).splice(0, Number.POSITIVE_INFINITY, ...cells);
    return true;
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  #enter(): void {
    assert.ok(!this.#decoding, "decode is not reentrant");
    this.#decoding = true;
  }

  #sequence(sequence: number): number[] {
    const cells = this.#cells[sequence];
    assert.ok(cells !== undefined);
    return cells;
  }
}
