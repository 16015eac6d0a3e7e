import { beforeAll, describe, expect, it } from "vitest";
import type { LlamaEngine } from "../../../src/engines/llama/llama-engine.ts";
import { GrammarDeadEnd, type SamplerChange, type Sampling } from "../../../src/engines/token-engine.ts";
import { tinyShape, writeRandomModel } from "../../support/gguf-random-model.ts";
import { greedy } from "../../support/sampling.ts";
import { writeScriptedModel } from "../../support/scripted-model.ts";
import { append, generate, modelFolder, openEngine, textOf } from "./generate.ts";

const inFolder = modelFolder();
const hot: Sampling = { ...greedy, temperature: 1, seed: 7 };

describe("sampling from a random model", () => {
  let engine: LlamaEngine;
  let prompt: Uint32Array;
  const run = (sampling: Partial<Sampling>, count = 24) => generate(engine, prompt, count, { ...hot, ...sampling });

  beforeAll(async () => {
    const path = inFolder("random.gguf");
    writeRandomModel(path, tinyShape);
    engine = await openEngine(path);
    prompt = engine.tokenize("hello world", false);
  });

  it.each([7, 0, -1, 2 ** 32 - 1, 2 ** 40 + 3])("draws equal tokens with the equal seed %d", async (seed) => {
    expect(await run({ seed })).toEqual(await run({ seed }));
  });

  it.each([
    ["penalties", { repeatPenalty: 1.8, frequencyPenalty: 1, presencePenalty: 1, penaltyWindow: 64 }],
    ["a bias", { logitBias: new Map([[104, 100]]) }],
    ["a grammar", { grammar: 'root ::= "abcdefghijklmnopqrstuvwxyz"' }],
    ["XTC", { xtc: { probability: 1, threshold: 0.001 } }],
    ["other limits", { topK: 2, topP: 0.1, minP: 0.9, temperature: 0.1 }],
    ["greed", { temperature: 0 }],
  ] satisfies [string, Partial<Sampling>][])("draws as before after a request with %s", async (_name, sampling) => {
    const plain = await run({});
    const greedily = await run({ temperature: 0 });
    expect(await run(sampling, 8)).not.toEqual(plain.slice(0, 8));
    expect(await run({})).toEqual(plain);
    await run(sampling, 8);
    expect(await run({ temperature: 0 })).toEqual(greedily);
  });

  it("draws other tokens with another seed, also one that differs above 32 bits", async () => {
    const draws = await Promise.all([7, 8, 7 + 2 ** 32].map((seed) => ({ seed })));
    const texts = new Set<string>();
    for (const { seed } of draws) texts.add(String(await run({ seed })));
    expect(texts.size).toBe(3);
  });

  it.each([
    ["top_k 1", { topK: 1 }],
    ["a top_p that one token reaches", { topP: 1e-6 }],
    ["min_p 1", { minP: 1 }],
    ["a temperature near 0", { temperature: 1e-4 }],
  ])("%s is greedy", async (_name, sampling) => {
    expect(await run(sampling)).toEqual(await run({ temperature: 0 }));
  });

  it.each([
    ["top_k", { topK: 3 }, 3],
    ["top_p", { topP: 0.2 }, 20],
    ["min_p", { minP: 0.5 }, 20],
  ])("%s narrows the choice", async (_name, sampling, most) => {
    await engine.truncate(0, 0);
    const logits = await append(engine, 0, 0, prompt);
    const choices = async (limits: Partial<Sampling>) => {
      const drawn = new Set<number>();
      for (let seed = 0; seed < 200; seed++) {
        const sampler = engine.createSampler({ ...hot, ...limits, seed }, prompt);
        drawn.add(await engine.sample(logits, sampler));
        sampler.dispose();
      }
      return drawn.size;
    };
    expect(await choices(sampling)).toBeLessThanOrEqual(most);
    expect(await choices({})).toBeGreaterThan(most);
  });

  it("draws several rows at the same time, each with its own random stream", async () => {
    await engine.truncate(0, 0);
    await engine.truncate(1, 0);
    const rows = [0, 1].map((sequence) => ({ sequence, position: 0, tokens: prompt, logits: 1 }));
    const logits = await engine.decode(rows);
    const draw = async (seed: number, row: number) => {
      const handle = logits[row]?.[0];
      if (handle === undefined) throw new Error("no logits");
      const sampler = engine.createSampler({ ...hot, seed }, prompt);
      const token = await engine.sample(handle, sampler);
      sampler.dispose();
      return token;
    };
    const seeds = Array.from({ length: 40 }, (_, seed) => seed);
    const together = await Promise.all(seeds.map((seed) => draw(seed, seed % 2)));
    const inTurn: number[] = [];
    for (const seed of seeds) inTurn.push(await draw(seed, seed % 2));
    expect(together).toEqual(inTurn);
  });

  it.each([
    ["presence", { presencePenalty: 1000 }],
    ["frequency", { frequencyPenalty: 1000 }],
    // Divides what is above 0 and multiplies what is below: everything seen ends at or under 0.
    ["repeat", { repeatPenalty: 1e6 }],
  ])("a %s penalty forbids what was in the window, prompt included", async (_name, penalty) => {
    const tokens = await run({ ...penalty, temperature: 0, penaltyWindow: 64 }, 40);
    expect(new Set([...prompt, ...tokens]).size).toBe(prompt.length + 40);
  });

  it("forgets what has left the window", async () => {
    const penalty = { presencePenalty: 1000, temperature: 0 };
    const short = await run({ ...penalty, penaltyWindow: 1 }, 40);
    expect(short.some((token, i) => token === short[i - 1])).toBe(false);
    expect(new Set(short).size).toBeLessThan(40);
  });

  it("a window of 0 penalises nothing", async () => {
    expect(await run({ presencePenalty: 1000, temperature: 0, penaltyWindow: 0 })).toEqual(
      await run({ temperature: 0 }),
    );
  });

  it("only the prompt's last tokens are in the window", async () => {
    const [likeliest = 0] = await run({ temperature: 0 }, 1);
    const penalised = async (history: number[]) => {
      await engine.truncate(0, 0);
      const logits = await append(engine, 0, 0, prompt);
      const sampler = engine.createSampler(
        { ...greedy, presencePenalty: 1000, penaltyWindow: 4 },
        Uint32Array.from(history),
      );
      const token = await engine.sample(logits, sampler);
      sampler.dispose();
      return token !== likeliest;
    };
    expect(await penalised([likeliest, 1, 2, 3])).toBe(true);
    expect(await penalised([likeliest, 1, 2, 3, 4])).toBe(false);
  });

  it.each([-100, Number.NEGATIVE_INFINITY])("a logit bias of %d bans", async (bias) => {
    const [likeliest = 0] = await run({ temperature: 0 }, 1);
    const logitBias = new Map([[likeliest, bias]]);
    expect(await run({ temperature: 0, logitBias })).not.toContain(likeliest);
    expect(await run({ temperature: 2, logitBias }, 100)).not.toContain(likeliest);
  });

  it("a logit bias of 100 forces", async () => {
    expect(await run({ logitBias: new Map([[42, 100]]) }, 5)).toEqual([42, 42, 42, 42, 42]);
  });

  it("XTC leaves out all but the last of the tokens that are likely enough, as often as it says", async () => {
    await engine.truncate(0, 0);
    const logits = await append(engine, 0, 0, prompt);
    const draw = async (sampling: Partial<Sampling>) => {
      const sampler = engine.createSampler({ ...greedy, ...sampling }, prompt);
      const token = await engine.sample(logits, sampler);
      sampler.dispose();
      return token;
    };
    const likeliest = await draw({});
    const second = await draw({ logitBias: new Map([[likeliest, -1000]]) });
    const third = await draw({ logitBias: new Map([likeliest, second].map((token) => [token, -1000])) });
    // Of three candidates each has more than 1 % here: the last of them is left.
    const always = { probability: 1, threshold: 0.01 };
    expect(await draw({ temperature: 1, topK: 3, xtc: always })).toBe(third);
    expect(await draw({ temperature: 1, topK: 2, xtc: always })).toBe(second);
    expect(await draw({ temperature: 1, topK: 1, xtc: always })).toBe(likeliest);
    expect(await draw({ xtc: { probability: 1, threshold: 0.6 } })).toBe(likeliest);
    const draws: number[] = [];
    for (let seed = 0; seed < 400; seed++) {
      draws.push(await draw({ temperature: 1e-3, topK: 2, seed, xtc: { probability: 0.25, threshold: 0.01 } }));
    }
    const acted = draws.filter((token) => token === second).length;
    expect(acted).toBeGreaterThan(60);
    expect(acted).toBeLessThan(140);
  });

  it("DRY leaves a repetition of the prompt", async () => {
    const [next = 0] = await run({ temperature: 0 }, 1);
    const history: Uint32Array = Uint32Array.from([...prompt, next, 0, ...prompt]);
    const dry = { multiplier: 1000, base: 1.75, allowedLength: 2, window: 512, breakers: [] };
    const draw = async (sampling: Partial<Sampling>, past = history) => {
      await engine.truncate(0, 0);
      const logits = await append(engine, 0, 0, prompt);
      const sampler = engine.createSampler({ ...greedy, ...sampling }, past);
      const token = await engine.sample(logits, sampler);
      sampler.dispose();
      return token;
    };
    expect(await draw({})).toBe(next);
    expect(await draw({ dry })).not.toBe(next);
    expect(await draw({ dry: { ...dry, window: prompt.length + 1 } })).toBe(next);
    expect(await draw({ dry }, prompt)).toBe(next);
    expect(await draw({ dry, logitBias: new Map([[next, 1e6]]) })).toBe(next);
  });

  it("DRY beside penalties: their window goes on", async () => {
    const penalties = { temperature: 0, presencePenalty: 1000, penaltyWindow: 64 };
    const dry = { multiplier: 5, base: 1.75, allowedLength: 0, window: 512, breakers: [] };
    const tokens = await run({ ...penalties, dry }, 40);
    expect(new Set([...prompt, ...tokens]).size).toBe(prompt.length + 40);
    const drawn = { temperature: 1, seed: 3, dry: { ...dry, multiplier: 1e-9, window: 8 } };
    expect(await run(drawn, 40)).toEqual(await run({ temperature: 1, seed: 3 }, 40));
  });

  it("a logit bias beyond the vocabulary is refused", () => {
    expect(() => engine.createSampler({ ...greedy, logitBias: new Map([[512, 1]]) }, prompt)).toThrow(
      "token 512 is not in the vocabulary of 512",
    );
  });
});

describe("a sampler that is changed", () => {
  let engine: LlamaEngine;
  let prompt: Uint32Array;
  beforeAll(async () => {
    const path = inFolder("random.gguf");
    writeRandomModel(path, tinyShape);
    engine = await openEngine(path);
    prompt = engine.tokenize("hello world", false);
  });

  /** Draws from the prompt's logits again and again, with a change after the first few draws. */
  async function draws(sampling: Partial<Sampling>, count: number, after: number, change: SamplerChange) {
    await engine.truncate(0, 0);
    const logits = await append(engine, 0, 0, prompt);
    const sampler = engine.createSampler({ ...hot, ...sampling }, prompt);
    try {
      const drawn: number[] = [];
      for (let i = 0; i < count; i++) {
        if (i === after) engine.changeSampler(sampler, change);
        drawn.push(await engine.sample(logits, sampler));
      }
      return drawn;
    } finally {
      sampler.dispose();
    }
  }

  it("goes on in its random stream", async () => {
    const alone = await draws({}, 12, 99, {});
    expect(await draws({}, 12, 5, {})).toEqual(alone);
    expect(await draws({}, 12, 5, { tokens: Uint32Array.of(42) })).toEqual(alone);
  });

  it("bans and allows from then on", async () => {
    const ban = new Map([[42, Number.NEGATIVE_INFINITY]]);
    const force = new Map([[42, 100]]);
    const drawn = await draws({ logitBias: force }, 12, 6, { logitBias: ban });
    expect(drawn.slice(0, 6)).toEqual([42, 42, 42, 42, 42, 42]);
    expect(drawn.slice(6)).not.toContain(42);
  });

  it.each([1, 3])("penalties know %d tokens that were not drawn", async (count) => {
    const penalty = { temperature: 0, presencePenalty: 1000, penaltyWindow: 64 };
    const likeliest = await draws(penalty, 10, 99, {});
    const given = Uint32Array.from(likeliest.slice(2, 2 + count));
    const rest = likeliest.filter((token, i) => i < 2 || !given.includes(token));
    expect(await draws(penalty, 10 - count, 2, { tokens: given })).toEqual(rest);
  });

  it("its grammar goes on behind tokens that were not drawn, and refuses others", async () => {
    const grammar = 'root ::= "abcdefgh"';
    const tokens = engine.tokenize("cde", false);
    const drawn = await draws({ grammar, topK: 0 }, 2, 2, {});
    const text = textOf(engine, drawn);
    expect("abcdefgh".startsWith(text)).toBe(true);
    const middle = engine.tokenize("abcdefgh".slice(text.length, text.length + 2), false);
    const all = await draws({ grammar, topK: 0 }, 3, 2, { tokens: middle });
    expect(textOf(engine, [...all.slice(0, 2), ...middle, ...all.slice(2)])).toMatch(/^abcde/);
    await expect(draws({ grammar, topK: 0 }, 3, 0, { tokens })).rejects.toThrow(GrammarDeadEnd);
  });
});

describe("a grammar that leads nowhere", () => {
  let engine: LlamaEngine;
  let prompt: Uint32Array;
  beforeAll(async () => {
    const path = inFolder("dead-end.gguf");
    writeScriptedModel(path, { reply: ["one ", "two ", "three"] });
    engine = await openEngine(path);
    prompt = engine.tokenize("?", false);
  });
  const end = () =>
    Array.from({ length: engine.info.vocabularySize }, (_, id) => id).filter((id) => engine.isEndOfGeneration(id));
  const banned = (tokens: Iterable<number>) =>
    new Map(Array.from(tokens, (id) => [id, Number.NEGATIVE_INFINITY] as const));

  it.each([0, 1])("ends with an error where every token for it is banned, temperature %d", async (temperature) => {
    const sampling = {
      ...greedy,
      temperature,
      grammar: 'root ::= "x"+',
      logitBias: banned(engine.tokenize("x", false)),
    };
    await expect(generate(engine, prompt, 5, sampling)).rejects.toThrow(GrammarDeadEnd);
  });

  it.each([0, 1])("ends with an error where the end is banned, temperature %d", async (temperature) => {
    const sampling = { ...greedy, temperature, grammar: 'root ::= "xy"', logitBias: banned(end()) };
    await expect(generate(engine, prompt, 5, sampling)).rejects.toThrow(GrammarDeadEnd);
  });

  it("never ends in the middle, whatever is banned", async () => {
    const all = Array.from({ length: engine.info.vocabularySize }, (_, id) => id);
    const others = all.filter((id) => !engine.isEndOfGeneration(id));
    const sampling = { ...greedy, grammar: 'root ::= "xy"', logitBias: banned(others) };
    await expect(generate(engine, prompt, 5, sampling)).rejects.toThrow(GrammarDeadEnd);
    await expect(generate(engine, prompt, 5, { ...sampling, logitBias: banned(all) })).rejects.toThrow(GrammarDeadEnd);
  });

  it("draws beside one that can't, with a grammar as without", async () => {
    await engine.truncate(0, 0);
    const logits = await append(engine, 0, 0, prompt);
    const forbidden = { ...greedy, grammar: 'root ::= "xy"', logitBias: banned(engine.tokenize("x", false)) };
    const draw = async (sampling: Sampling) => {
      const sampler = engine.createSampler(sampling, prompt);
      try {
        return await engine.sample(logits, sampler);
      } finally {
        sampler.dispose();
      }
    };
    const inTurn = [await draw(greedy), await draw({ ...greedy, grammar: 'root ::= "xy"' })];
    const [plain, refused, steered] = await Promise.allSettled([
      draw(greedy),
      draw(forbidden),
      draw({ ...greedy, grammar: 'root ::= "xy"' }),
    ]);
    expect([plain, steered]).toEqual(inTurn.map((value) => ({ status: "fulfilled", value })));
    expect(refused).toMatchObject({ status: "rejected", reason: expect.any(GrammarDeadEnd) });
    expect(inTurn[0]).not.toBe(inTurn[1]);
  });

  it("leaves the engine as it was", async () => {
    expect(textOf(engine, await generate(engine, prompt, 10))).toBe("one two three");
  });
});

describe("sampling from a scripted model", () => {
  it("keeps to the script at temperature 1 and leaves it where a bias says so", async () => {
    const path = inFolder("scripted.gguf");
    writeScriptedModel(path, { reply: ["one ", "two ", "three"] });
    const engine = await openEngine(path);
    const prompt = engine.tokenize("?", false);
    const tokens = await generate(engine, prompt, 10, hot);
    expect(textOf(engine, tokens)).toBe("one two three");
    const ban = new Map([[tokens[1] ?? 0, -100]]);
    expect((await generate(engine, prompt, 10, { ...greedy, logitBias: ban }))[1]).not.toBe(tokens[1]);
  });
});
