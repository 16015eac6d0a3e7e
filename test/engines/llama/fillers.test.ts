import { describe, expect, it, test, vi } from "vitest";
import { fillersFor } from "../../../src/engines/llama/fillers.ts";
import type { LlamaEngine } from "../../../src/engines/llama/llama-engine.ts";
import { writeRecurrentModel } from "../../support/gguf-memory-models.ts";
import { tinyShape, writeRandomModel } from "../../support/gguf-random-model.ts";
import { greedy } from "../../support/sampling.ts";
import { modelFolder, openEngine } from "./generate.ts";

/** The sequences of each batch that llama.cpp got, in its order. */
const batches = vi.hoisted((): number[][] => []);

vi.mock(import("../../../src/engines/llama/addon.ts"), async (importOriginal) => {
  const addon = await importOriginal();
  return {
    ...addon,
    async loadLlama(onLog) {
      const llama = await addon.loadLlama(onLog);
      return {
        ...llama,
        async openModel(...options) {
          const model = await llama.openModel(...options);
          return {
            ...model,
            async openContext(shape) {
              const context = await model.openContext(shape);
              return {
                ...context,
                decode(rows) {
                  batches.push(rows.map(({ sequence }) => sequence));
                  return context.decode(rows);
                },
              };
            },
          };
        },
      };
    },
  };
});

const everybody = () => true;
const range = (from: number, to: number) => Array.from({ length: to - from }, (_, index) => from + index);

test.each<[string, number[], number[]]>([
  ["neighbours need none", [3, 4, 5], []],
  ["nobody needs none", [], []],
  ["two of them are cheaper apart", [0, 2], []],
  ["one joins several", [0, 2, 3], [1]],
  ["several join across a wide gap", [0, 1, 8, 9], [2, 3, 4, 5, 6, 7]],
  ["but not across any", [0, 1, 12, 13], []],
  ["many that are each alone join", [0, 2, 4, 6, 8, 10, 12], [1, 3, 5, 7, 9, 11]],
  ["what is far away stays apart", [0, 1, 3, 4, 40, 41, 43], [2, 42]],
])("%s", (_what, generating, fillers) => {
  expect(fillersFor(generating, new Set(), everybody)).toEqual(fillers);
});

test("a sequence that may not be computed ends a block", () => {
  expect(fillersFor([0, 1, 3, 4, 6, 7], new Set(), (sequence) => sequence !== 2)).toEqual([5]);
});

test("a piece of a prompt between them needs no filler", () => {
  expect(fillersFor([0, 1, 4, 5], new Set([2]), everybody)).toEqual([3]);
});

test("a plan is never dearer than runs by themselves, and never joins where it costs more", () => {
  const cost = (rows: number) => (rows === 1 ? 4 : 8 + rows);
  const total = (sequences: readonly number[]) => {
    const ascending = [...sequences].sort((a, b) => a - b);
    let sum = 0;
    let rows = 0;
    for (const [at, sequence] of ascending.entries()) {
      rows += 1;
      if (ascending[at + 1] === sequence + 1) continue;
      sum += cost(rows);
      rows = 0;
    }
    return sum;
  };
  for (let mask = 1; mask < 2 ** 10; mask += 1) {
    const generating = range(0, 10).filter((bit) => (mask >> bit) & 1);
    const others = range(0, 10).filter((bit) => !generating.includes(bit));
    // Every choice of fillers there is.
    let cheapest = Number.POSITIVE_INFINITY;
    for (let fill = 0; fill < 2 ** others.length; fill += 1) {
      cheapest = Math.min(cheapest, total([...generating, ...others.filter((_, bit) => (fill >> bit) & 1)]));
    }
    expect(total([...generating, ...fillersFor(generating, new Set(), everybody)])).toBe(cheapest);
  }
});

const writeSmall = (path: string) => writeRandomModel(path, tinyShape);

describe("the engine", () => {
  const inFolder = modelFolder();
  const prompts = range(0, 6).map((name) =>
    Uint32Array.from({ length: 20 + name }, (_, i) => (i * 31 + name * 7) % 200),
  );
  async function open(write: (path: string) => void, name: string): Promise<LlamaEngine> {
    const path = inFolder(name);
    write(path);
    return openEngine(path, { sequences: 6, contextLength: 1024, batchSize: 600 });
  }

  async function fill(engine: LlamaEngine, sequence: number): Promise<void> {
    const tokens = prompts[sequence] ?? new Uint32Array();
    await engine.decode([{ sequence, position: 0, tokens, logits: 0 }]);
  }

  /** Eight greedy tokens of each sequence, all decoded together; which ones had a row in each of the decodes. */
  async function generateTogether(engine: LlamaEngine, sequences: readonly number[]) {
    const samplers = sequences.map(() => engine.createSampler(greedy, new Uint32Array()));
    const texts = sequences.map((): number[] => []);
    batches.length = 0;
    for (let step = 0; step < 8; step += 1) {
      const handles = await engine.decode(
        sequences.map((sequence, index) => ({
          sequence,
          position: (prompts[sequence]?.length ?? 0) + step,
          tokens: Uint32Array.of(texts[index]?.at(-1) ?? 5),
          logits: 1,
        })),
      );
      for (const [index, sampler] of samplers.entries()) {
        const [handle] = handles[index] ?? [];
        if (handle === undefined) throw new Error("a row has no logits");
        texts[index]?.push(await engine.sample(handle, sampler));
      }
    }
    for (const sampler of samplers) sampler.dispose();
    return { texts, rows: batches.flat() };
  }

  it("computes what lies between, and forgets it", async () => {
    const engine = await open(writeSmall, "random.gguf");
    for (const sequence of range(0, 6)) await fill(engine, sequence);
    const together = await generateTogether(engine, [4, 1, 2, 5]);
    expect(together.rows).toEqual(range(0, 8).flatMap(() => [1, 2, 3, 4, 5]));
    // What the filler holds is as it was.
    const [filler] = (await generateTogether(engine, [3])).texts;
    await engine.truncate(0, 0);
    for (const sequence of range(1, 6)) await engine.truncate(sequence, 0);
    for (const [index, sequence] of [4, 1, 2, 5, 3].entries()) {
      await fill(engine, sequence);
      const alone = await generateTogether(engine, [sequence]);
      expect(alone.rows).toEqual(new Array(8).fill(sequence));
      expect([...together.texts, filler][index]).toEqual(alone.texts[0]);
    }
  });

  it("leaves one alone that holds far more than those who generate", async () => {
    const engine = await open(writeSmall, "longer.gguf");
    for (const sequence of [1, 2, 4, 5]) await fill(engine, sequence);
    await engine.decode([{ sequence: 3, position: 0, tokens: new Uint32Array(600), logits: 0 }]);
    expect((await generateTogether(engine, [1, 2, 4, 5])).rows).not.toContain(3);
    await engine.truncate(3, 512 + 30);
    for (const sequence of [1, 2, 4, 5]) await engine.truncate(sequence, prompts[sequence]?.length ?? 0);
    // Those who generate come to hold 30, of which 512 more are not far.
    const { rows } = await generateTogether(engine, [1, 2, 4, 5]);
    expect(rows.filter((sequence) => sequence === 3)).toHaveLength(3);
  });

  it("leaves a recurrent state alone, which forgets nothing", async () => {
    const engine = await open(writeRecurrentModel, "recurrent.gguf");
    for (const sequence of range(1, 6)) await fill(engine, sequence);
    expect((await generateTogether(engine, [1, 2, 4, 5])).rows).not.toContain(3);
  });
});
