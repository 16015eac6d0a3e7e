import type { DecodeRow, LogitsHandle, Sampler, TokenEngine, TokenLogprobs } from "../engines/token-engine.ts";
import { type ErrorFields, LoquiError } from "../errors.ts";
import { createFairQueue, type Newcomer, type Room } from "./fair-queue.ts";
import type { Generation, GenerationResult, GenerationTotals } from "./generation.ts";
import { createPromptBudget } from "./prompt-budget.ts";
import { firstHalf, sharePieces, total, wholePieces } from "./prompt-pieces.ts";
import { checkPromptFits } from "./prompt-tokens.ts";
import { createSlotPool, heldPrefix, type Slot } from "./slots.ts";

/** How busy a scheduler is. */
export interface SchedulerLoad {
  /** Generations that have a sequence. */
  readonly active: number;
  /** Generations that wait for one, and the tokens of their prompts. */
  readonly queued: number;
  readonly queuedTokens: number;
}

export interface SchedulerLimits {
  /** Generations that may wait for a sequence. */
  readonly maxQueuedRequests: number;
  /** Tokens that their prompts may have together; the first to wait may have any number. */
  readonly maxQueuedTokens: number;
  /**
   * Prompt tokens per decode while others generate: bounds the gap between
   * their tokens. Where several prompts wait, as many times more, up to four, or
   * what there are of them for each sequence that generates. Default: by the time
   * that they take ({@link createPromptBudget}).
   */
  readonly pieceTokens?: number | undefined;
}

/** `overloaded` where not even the shortest prompt of the tenant may wait. */
export class QueueFull extends LoquiError {}

/** Runs many generations on one engine. Does not own the engine; disposing ends what runs and waits. */
export interface Scheduler extends AsyncDisposable {
  /**
   * Runs a generation to its end. Throws `context_too_long` or `overloaded` at
   * once, the signal's reason as soon as it is aborted (nothing is decoded for
   * it afterwards but what is in the batch already), `internal` where the
   * engine fails.
   */
  run(generation: Generation, signal: AbortSignal): Promise<GenerationResult>;
  /**
   * Runs the generations of one request, as many at a time as sequences are
   * free; results in their order. Where one fails, all do. Those with the same
   * prompt share its evaluation where that costs more than a copy
   * ({@link minCopyGain}): one evaluates it, the others copy its cells and draw
   * their first token from its logits. In the queue the tokens of a prompt count
   * once for those that have the same array.
   */
  runAll(generations: readonly Generation[], signal: AbortSignal): Promise<GenerationResult[]>;
  /** Throws {@link QueueFull} where `run` would refuse anything of a tenant: before its prompt is made. */
  checkRoom(tenant: string): void;
  readonly load: SchedulerLoad;
}

/**
 * A copied prefix has to save at least this part of the context more than the
 * slot's own does: llama.cpp copies the memory of the whole sequence. With 135 M
 * parameters on one core a copy takes 11 ms of 4,096 positions, as long as
 * evaluating five tokens; a GPU evaluates faster than it copies.
 */
const minCopyGain = 1 / 256;

/**
 * Logits of prompts per decode: the runtime keeps as much memory for them as
 * they ever took, 19 MB of a vocabulary of 152,000, and reading them takes the
 * time between two decodes.
 */
const promptLogits = 32;

/** What a generated token counts beside one of a prompt when tenants take turns; as in the paper behind {@link FairQueue}. */
const generatedTokenWeight = 2;

/** A generation on its way through the scheduler. */
interface Job {
  readonly generation: Generation;
  readonly tenant: string;
  /** Of the prompt, as the queue counts them: 0 where another job of the request has the same. */
  readonly tokens: number;
  readonly priority: number;
  readonly group: { begun: boolean } | undefined;
  readonly arrivedAt: number;
  slot: Slot | undefined;
  /** Whose prefix it waits for before it starts. */
  ahead: Ahead | undefined;
  sampler: Sampler | undefined;
  startedAt: number | undefined;
  firstTokenAt: number | undefined;
  cachedTokens: number;
  completionTokens: number;
  /** The last token drawn and what is forced behind it: what the next decodes take. */
  next: Uint32Array;
  /** Resolved or rejected; the slot is given back before the next decode. */
  settled: boolean;
  soFar(): GenerationTotals;
  finish(reason: GenerationResult["reason"]): void;
  fail(error: unknown): void;
}

/** A job that has no token yet. */
interface Prompt {
  readonly job: Job;
  readonly slot: Slot;
  /** Tokens of its prompt to evaluate. */
  readonly left: number;
}

/** A job that evaluates what another one needs too. */
interface Ahead {
  readonly job: Job;
  /** Tokens that both prompts begin with. */
  readonly length: number;
}

/** A row of the next batch and whose it is. */
interface PlannedRow extends DecodeRow {
  readonly job: Job;
  readonly slot: Slot;
}

/**
 * Continuous batching over the engine's fixed pool of sequences. Each step is
 * one decode: a token of every generating sequence, or pieces of prompts within
 * the budget ({@link sharePieces}); where both wait, in turn. Tenants take turns
 * in getting sequences ({@link createFairQueue}); which one it is, decides the
 * longest common prefix.
 *
 * A prefix is evaluated once: who needs it while another generation is at it,
 * of the same request or not, waits and copies the cells.
 *
 * There is no timer: an idle engine starts at once, and a generation that
 * arrives meanwhile joins the next step.
 */
export function createScheduler(engine: TokenEngine, limits: SchedulerLimits): Scheduler {
  // A batch has room for a token of every generating sequence.
  const slots = createSlotPool(Math.min(engine.sequences, engine.batchSize), engine.contextLength);
  const budget = createPromptBudget();
  const queue = createFairQueue<Job>();
  /** In order of admission. */
  const active: Job[] = [];
  let closed = false;
  /** Whether the last decode had prompts while others waited for a token. */
  let afterPrompts = false;
  let meanServiceMs = 1_000;
  let running = false;
  let loop: Promise<void> = Promise.resolve();

  function admit(): void {
    for (let job = queue.next(); job !== undefined; job = queue.next()) {
      const slot = slots.take(job.generation.prompt, job.generation.cacheScope);
      if (slot === undefined) return;
      queue.remove(job);
      queue.charge(job.tenant, job.generation.prompt.length);
      if (job.group !== undefined) job.group.begun = true;
      job.slot = slot;
      job.ahead = aheadOf(job, slot);
      active.push(job);
    }
  }

  /**
   * Of those that were admitted before a job and evaluate their prompts, the one
   * that will hold most of its prompt; undefined where a copy costs more than it saves.
   */
  function aheadOf(job: Job, slot: Slot): Ahead | undefined {
    if (wantsPromptLogits(job.generation)) return undefined;
    const { prompt, cacheScope } = job.generation;
    let best: Ahead | undefined;
    for (const other of active) {
      if (other === job) break;
      if (other.settled || other.completionTokens > 0 || other.generation.cacheScope !== cacheScope) continue;
      const length = commonPrefix(other.generation.prompt, prompt);
      if (length > (best?.length ?? 0)) best = { job: other, length };
    }
    if (best === undefined) return undefined;
    const copied = slots.longestPrefix(prompt, cacheScope, slot)?.length ?? 0;
    const held = Math.max(heldPrefix(slot, prompt, cacheScope), copied);
    return best.length - held >= engine.contextLength * minCopyGain ? best : undefined;
  }

  /**
   * Whether a job does better to wait: another one is about to hold what it
   * would evaluate. Not behind one that gets its pieces later than it would
   * itself: that one has its cells then.
   */
  function waits({ job, slot, left }: Prompt, prompts: readonly Prompt[]): boolean {
    if (job.startedAt !== undefined) return false;
    if (job.ahead?.job.settled === true && job.ahead.job.completionTokens === 0) job.ahead = aheadOf(job, slot);
    const { ahead } = job;
    const other = prompts.find((candidate) => candidate.job === ahead?.job);
    if (ahead === undefined || other === undefined || (other !== prompts[0] && other.left > left)) return false;
    if (isWhole(ahead, job.generation.prompt) || other.job.startedAt === undefined) return true;
    return other.slot.length < Math.min(ahead.length, job.generation.prompt.length - 1);
  }

  /** Takes an ended job out of its slot. Never during a decode: the slot's row may be in it. */
  function leave(job: Job): void {
    const index = active.indexOf(job);
    if (index === -1 || job.slot === undefined) return;
    active.splice(index, 1);
    job.sampler?.dispose();
    slots.release(job.slot);
  }

  function leaveSettled(): void {
    for (const job of active.filter((candidate) => candidate.settled)) leave(job);
  }

  /**
   * Makes a job's slot hold as much of the prompt as the cache has, just before
   * the first piece: until then other slots may come to hold more of it. At
   * least one token is left to decode, for its logits.
   */
  async function start(job: Job, slot: Slot): Promise<void> {
    const { prompt, cacheScope } = job.generation;
    const most = wantsPromptLogits(job.generation) ? 0 : prompt.length - 1;
    const own = Math.min(heldPrefix(slot, prompt, cacheScope), most);
    const other = slots.longestPrefix(prompt, cacheScope, slot);
    const copied = Math.min(other?.length ?? 0, most);
    const held = slot.length;
    // Should the engine throw, the slot must not claim cells that it may have lost.
    slot.length = 0;
    slot.scope = cacheScope;
    if (other !== undefined && copied - own >= engine.contextLength * minCopyGain) {
      if (await engine.copyPrefix(other.slot.sequence, slot.sequence, copied)) {
        slot.cells.set(prompt.subarray(0, copied));
        slot.length = copied;
      }
    } else {
      slot.length = own === held || (await engine.truncate(slot.sequence, own)) ? own : 0;
    }
    begin(job, slot.length);
  }

  function begin(job: Job, cachedTokens: number): void {
    const { prompt, sampling } = job.generation;
    job.cachedTokens = cachedTokens;
    queue.charge(job.tenant, -cachedTokens);
    job.sampler = engine.createSampler(sampling, prompt);
    job.startedAt = performance.now();
    tellProgress(job, cachedTokens);
  }

  function tellProgress(job: Job, processed: number): void {
    if (job.settled || job.completionTokens > 0) return;
    try {
      job.generation.onPrompt?.(processed, job.soFar());
    } catch (error) {
      job.fail(asLoquiError(error));
    }
  }

  /** Starts a job behind one that has just evaluated the same prompt. False where the memory can't copy. */
  async function join(job: Job, slot: Slot, source: Slot): Promise<boolean> {
    const { prompt, cacheScope } = job.generation;
    slot.length = 0;
    slot.scope = cacheScope;
    if (!(await engine.copyPrefix(source.sequence, slot.sequence, prompt.length))) return false;
    slot.cells.set(prompt);
    slot.length = prompt.length;
    begin(job, prompt.length);
    return true;
  }

  /** Ends a job that could not be started; what its slot holds is unknown then. */
  async function failStart(job: Job, slot: Slot, error: unknown): Promise<void> {
    job.fail(asLoquiError(error));
    slot.length = 0;
    await engine.truncate(slot.sequence, 0);
  }

  /**
   * What the next decode takes: the tokens of those who generate, or pieces of
   * prompts; where both wait, in turn. A pass over the weights takes rows of one
   * length: together they would need two as well, and those whose prompts end
   * here would join those who generate a pass later.
   */
  async function planRows(): Promise<PlannedRow[]> {
    const tokens = tokenRows();
    const pieces = afterPrompts ? [] : await promptRows(tokens.length);
    afterPrompts = pieces.length > 0 && tokens.length > 0;
    return (pieces.length > 0 ? pieces : tokens).filter((row) => !row.job.settled);
  }

  /** What each who generates has drawn last, and is forced behind it. */
  function tokenRows(): PlannedRow[] {
    const rows: PlannedRow[] = [];
    const jobs = active.filter((job) => job.completionTokens > 0);
    let room = engine.batchSize - jobs.length;
    for (const job of jobs) {
      const { slot } = job;
      if (slot === undefined) continue;
      const tokens = job.next.subarray(0, 1 + room);
      room -= tokens.length - 1;
      const logits = Number(tokens.length === job.next.length);
      rows.push({ job, slot, sequence: slot.sequence, position: slot.length, tokens, logits });
    }
    return rows;
  }

  /** The pieces of prompts whose turn it is, while so many who generate wait. */
  async function promptRows(generating: number): Promise<PlannedRow[]> {
    const rows: PlannedRow[] = [];
    const prompts: Prompt[] = [];
    for (const job of active) {
      const { slot } = job;
      if (slot === undefined || job.completionTokens > 0) continue;
      const { prompt, cacheScope } = job.generation;
      const reusable = wantsPromptLogits(job.generation) ? 0 : heldPrefix(slot, prompt, cacheScope);
      const held = job.startedAt === undefined ? reusable : slot.length;
      prompts.push({ job, slot, left: Math.max(prompt.length - held, 1) });
    }
    const ready = prompts.filter((prompt) => !waits(prompt, prompts));
    const lengths = ready.map(({ left }) => left);
    const begun = ready.some(({ job }) => job.startedAt !== undefined);
    const pieces = promptPieces(generating, lengths, begun);
    let logitsLeft = promptLogits;
    for (const [index, { job, slot }] of ready.entries()) {
      const wantsLogits = wantsPromptLogits(job.generation);
      const piece = Math.min(pieces[index] ?? 0, wantsLogits ? logitsLeft : Number.POSITIVE_INFINITY);
      if (piece === 0) continue;
      if (job.startedAt === undefined) {
        try {
          await start(job, slot);
        } catch (error) {
          await failStart(job, slot, error);
          continue;
        }
      }
      const position = slot.length;
      const { prompt, maxTokens } = job.generation;
      const tokens = prompt.subarray(position, position + piece);
      const last = position + tokens.length === prompt.length && maxTokens > 0;
      const logits = wantsLogits ? tokens.length : Number(last);
      if (wantsLogits) logitsLeft -= logits;
      rows.push({ job, slot, sequence: slot.sequence, position, tokens, logits });
    }
    return rows;
  }

  /**
   * How much of each prompt the next batch takes. The gap that this puts between
   * the tokens of those who generate is kept short; longer where several wait
   * for their first token, up to four times, or as many as there are for each
   * who generates: small batches cost them all, and the throughput (16 prompts
   * of 103 tokens that came together took 2.9 s in 11 steps and 5.0 in 19). So
   * does a small rest in a step of its own: up to a quarter more is taken with
   * the last, up to half where the rest is of several prompts.
   *
   * Of up to four that would fit, but take longer than a step should, half come
   * first while fewer generate: they have their first tokens sooner, and the
   * others no later.
   *
   * Short prompts, of which none has `begun`, are evaluated whole: pieces of
   * several lengths need a pass over the weights for each. Where a pass is costly,
   * they may take longer ({@link PromptBudget.wholeTokens}).
   */
  function promptPieces(generating: number, lengths: readonly number[], begun: boolean): number[] {
    if (generating === 0) return sharePieces(lengths, engine.batchSize);
    const pieceTokens = limits.pieceTokens ?? budget.tokens(generating);
    const waiting = lengths.length;
    const most = pieceTokens * Math.max(Math.min(waiting, 4), Math.ceil(waiting / generating));
    const all = total(lengths);
    if (all <= Math.min(most * (waiting > 1 ? 1.5 : 1.25), engine.batchSize)) {
      const halved = all > pieceTokens && waiting <= 4 && waiting > 2 * generating;
      return halved ? firstHalf(lengths) : [...lengths];
    }
    const pieces = sharePieces(lengths, Math.min(most, engine.batchSize));
    if (begun || limits.pieceTokens !== undefined) return pieces;
    const mostWhole = Math.max(budget.wholeTokens(generating, waiting), most * 1.25);
    const whole = wholePieces(lengths, Math.min(mostWhole, engine.batchSize));
    return total(whole) >= total(pieces) * 0.75 ? whole : pieces;
  }

  /**
   * Ends all that has a slot; their cells are unknown now. An engine that can't
   * even empty a sequence ends the loop, and with it the process.
   */
  async function failActive(error: unknown): Promise<void> {
    for (const job of active) job.fail(asLoquiError(error));
    for (const { slot } of active) {
      if (slot === undefined) continue;
      slot.length = 0;
      await engine.truncate(slot.sequence, 0);
    }
    leaveSettled();
  }

  async function draw(job: Job, handle: LogitsHandle): Promise<void> {
    try {
      if (job.settled || job.sampler === undefined) return;
      const token = await engine.sample(handle, job.sampler);
      const top = ends(job, token) ? undefined : job.generation.topLogprobs;
      const logprobs = top === undefined || job.settled ? undefined : await engine.logprobs(handle, token, top);
      if (!job.settled) accept(job, token, logprobs);
    } catch (error) {
      job.fail(asLoquiError(error));
    } finally {
      if (job.settled) leave(job);
    }
  }

  /** Tells the log-probabilities of the prompt's tokens that follow those of a piece. */
  async function readPrompt(job: Job, handles: readonly LogitsHandle[], position: number): Promise<void> {
    const { prompt, topLogprobs = 0, onPromptLogprobs } = job.generation;
    const next = prompt.subarray(position + 1, position + 1 + handles.length);
    if (job.settled || next.length === 0) return;
    try {
      const read = await Promise.all(
        handles.slice(0, next.length).map((handle, index) => engine.logprobs(handle, next[index] ?? 0, topLogprobs)),
      );
      for (const logprobs of read) if (!job.settled) onPromptLogprobs?.(logprobs);
    } catch (error) {
      job.fail(asLoquiError(error));
    }
  }

  function ends({ generation }: Job, token: number): boolean {
    return !generation.ignoreEos && engine.isEndOfGeneration(token);
  }

  /** Takes a token that was drawn, and those that are forced behind it. */
  function accept(job: Job, token: number, logprobs: TokenLogprobs | undefined): void {
    job.firstTokenAt ??= performance.now();
    const { generation, sampler } = job;
    const most = Math.min(generation.maxTokens, engine.contextLength - generation.prompt.length);
    const next = [token];
    let logitBias: ReadonlyMap<number, number> | undefined;
    for (let i = 0; i < next.length; i++) {
      const taken = next[i] ?? 0;
      job.completionTokens += 1;
      queue.charge(job.tenant, generatedTokenWeight);
      const isEnd = ends(job, taken);
      const steering = isEnd ? "stop" : generation.onToken(taken, i === 0 ? logprobs : undefined, job.soFar);
      if (steering === "stop" || job.completionTokens >= most) {
        job.finish(isEnd ? "eos" : steering === "stop" ? "stopped" : "length");
        return;
      }
      if (steering === "continue") continue;
      if ("force" in steering) next.push(...steering.force);
      else logitBias = steering.logitBias;
    }
    job.next = Uint32Array.from(next);
    if (sampler === undefined || (next.length === 1 && logitBias === undefined)) return;
    engine.changeSampler(sampler, { tokens: job.next.subarray(1), logitBias });
  }

  /** What comes after a row's decode: the next token, where its prompt is complete. */
  async function follow({ job, slot, position }: PlannedRow, handles: readonly LogitsHandle[]): Promise<void> {
    const { generation } = job;
    const end = slot.length;
    if (wantsPromptLogits(generation)) await readPrompt(job, handles, position);
    const last = end < generation.prompt.length ? undefined : handles.at(-1);
    if (last !== undefined && generation.maxTokens > 0) await draw(job, last);
    else if (end === generation.prompt.length) job.finish("length");
  }

  /** One decode. */
  async function step(): Promise<void> {
    const rows = await planRows();
    if (rows.length === 0) return;
    const startedAt = performance.now();
    const arePrompts = rows[0]?.job.completionTokens === 0;
    let handles: LogitsHandle[][];
    try {
      handles = await engine.decode(rows);
    } catch (error) {
      return failActive(error);
    }
    for (const { job, slot, position, tokens } of rows) {
      slot.cells.set(tokens, position);
      slot.length = position + tokens.length;
      if (job.completionTokens > 0) job.next = job.next.subarray(tokens.length);
      tellProgress(job, slot.length);
    }
    await Promise.all(rows.map((row, index) => follow(row, handles[index] ?? [])));
    for (const [index, { job, slot, position }] of rows.entries()) {
      const { prompt, maxTokens } = job.generation;
      const last = handles[index]?.at(-1);
      const evaluated = position < prompt.length && slot.length === prompt.length;
      if (evaluated && last !== undefined && maxTokens > 0) await drawAlike(job, slot, last);
    }
    const ms = performance.now() - startedAt;
    if (arePrompts) budget.notePrompts(total(rows.map(({ tokens }) => tokens.length)), ms);
    else budget.noteTokens(rows.length, ms);
  }

  /** Has those that waited for all of a job's prompt draw their first token from its logits. */
  async function drawAlike(first: Job, source: Slot, handle: LogitsHandle): Promise<void> {
    const joined: Job[] = [];
    for (const job of active) {
      const { slot, ahead } = job;
      if (job.settled || job.startedAt !== undefined || slot === undefined) continue;
      const { prompt, maxTokens } = job.generation;
      if (ahead?.job !== first || !isWhole(ahead, prompt) || maxTokens === 0) continue;
      try {
        if (await join(job, slot, source)) joined.push(job);
      } catch (error) {
        await failStart(job, slot, error);
      }
    }
    // Not before: an engine copies nothing while it draws.
    await Promise.all(joined.map((job) => draw(job, handle)));
  }

  async function runLoop(): Promise<void> {
    running = true;
    for (;;) {
      leaveSettled();
      admit();
      if (active.length === 0) break;
      await step();
    }
    running = false;
  }

  function createJob(
    generation: Generation,
    signal: AbortSignal,
    settle: PromiseWithResolvers<GenerationResult>,
    { tokens, group }: Pick<Job, "tokens" | "group">,
  ): Job {
    const onAbort = () => job.fail(signal.reason);
    const settleOnce = (): boolean => {
      if (job.settled) return false;
      job.settled = true;
      signal.removeEventListener("abort", onAbort);
      return true;
    };
    const job: Job = {
      generation,
      tenant: generation.tenant,
      tokens,
      priority: generation.priority ?? 0,
      group,
      arrivedAt: performance.now(),
      slot: undefined,
      ahead: undefined,
      sampler: undefined,
      startedAt: undefined,
      firstTokenAt: undefined,
      cachedTokens: 0,
      completionTokens: 0,
      next: new Uint32Array(1),
      settled: false,
      soFar() {
        const now = performance.now();
        const startedAt = job.startedAt ?? now;
        const firstTokenAt = job.firstTokenAt ?? now;
        return {
          promptTokens: generation.prompt.length,
          cachedTokens: job.cachedTokens,
          completionTokens: job.completionTokens,
          queueMs: startedAt - job.arrivedAt,
          promptMs: firstTokenAt - startedAt,
          firstTokenMs: firstTokenAt - job.arrivedAt,
          generationMs: now - firstTokenAt,
        };
      },
      finish(reason) {
        if (!settleOnce()) return;
        const totals = job.soFar();
        meanServiceMs += (totals.promptMs + totals.generationMs - meanServiceMs) / 8;
        settle.resolve({ reason, ...totals });
      },
      fail(error) {
        if (!settleOnce()) return;
        queue.remove(job);
        settle.reject(error);
      },
    };
    signal.addEventListener("abort", onAbort, { once: true });
    return job;
  }

  /** Who has to leave the queue for a newcomer. What is queued while sequences are free starts with the next step. */
  function roomFor(newcomer: Newcomer): Room<Job> {
    const bounds = { requests: limits.maxQueuedRequests, tokens: limits.maxQueuedTokens };
    return queue.roomFor(newcomer, bounds, slots.idle);
  }

  function checkRoom(tenant: string): void {
    const { full } = roomFor({ tenant, tokens: 1, places: 1 });
    if (full !== undefined) throw new QueueFull("overloaded", ...overload(full));
  }

  /** Makes room in the queue, or throws. */
  function makeRoom(newcomer: Newcomer): void {
    const { leaving, full } = roomFor(newcomer);
    if (full !== undefined) throw new LoquiError("overloaded", ...overload(full));
    for (const job of leaving) {
      const why = "the queue is full, and others who wait have fewer requests in it";
      job.fail(new LoquiError("overloaded", ...overload(why)));
    }
  }

  /** The message of an error, and when trying again may help. */
  function overload(why: string): [message: string, fields: ErrorFields] {
    const waves = Math.ceil((queue.length - slots.idle + 1) / slots.all.length);
    const retryAfterMs = Math.round(Math.min(Math.max(waves * meanServiceMs, 1_000), 60_000));
    return [`the model is overloaded: ${why}`, { retryAfterMs }];
  }

  async function runAll(generations: readonly Generation[], signal: AbortSignal): Promise<GenerationResult[]> {
    signal.throwIfAborted();
    if (closed) throw new LoquiError("shutting_down", "the model is being unloaded");
    const prompts = new Set<Uint32Array>();
    const parts = generations.map(({ prompt }) => {
      if (prompt.length === 0) throw new LoquiError("invalid_request", "the prompt has no tokens");
      checkPromptFits(prompt.length, engine.contextLength);
      const tokens = prompts.has(prompt) ? 0 : prompt.length;
      prompts.add(prompt);
      return tokens;
    });
    const tokens = total(parts);
    const [first] = generations;
    if (first === undefined) return [];
    makeRoom({ tenant: first.tenant, tokens, places: generations.length });
    const group = generations.length > 1 ? { begun: false } : undefined;
    const jobs: Job[] = [];
    const results = generations.map((generation, index) => {
      const settle = Promise.withResolvers<GenerationResult>();
      const job = createJob(generation, signal, settle, { tokens: parts[index] ?? 0, group });
      jobs.push(job);
      queue.push(job);
      return settle.promise.then((result) => {
        generation.onEnd?.(result);
        return result;
      });
    });
    if (!running) loop = runLoop();
    try {
      return await Promise.all(results);
    } catch (error) {
      for (const job of jobs) job.fail(error);
      throw error;
    }
  }

  return {
    async run(generation, signal) {
      const [result] = await runAll([generation], signal);
      if (result === undefined) throw new Error("a generation without a result");
      return result;
    },
    runAll,
    checkRoom,
    get load() {
      return { active: active.length, queued: queue.length, queuedTokens: queue.tokens };
    },
    async [Symbol.asyncDispose]() {
      closed = true;
      const error = new LoquiError("shutting_down", "the model is being unloaded");
      for (const job of [...queue, ...active]) job.fail(error);
      await loop;
    },
  };
}

/** Whether the tokens of a generation's prompt need logits of their own. */
function wantsPromptLogits(generation: Generation): boolean {
  return generation.topLogprobs !== undefined && generation.onPromptLogprobs !== undefined;
}

/** Whether the job ahead has the same prompt: its logits are another one's too. */
function isWhole({ job, length }: Ahead, prompt: Uint32Array): boolean {
  return length === prompt.length && length === job.generation.prompt.length;
}

function commonPrefix(a: Uint32Array, b: Uint32Array): number {
  const end = Math.min(a.length, b.length);
  if (a === b) return end;
  let length = 0;
  while (length < end && a[length] === b[length]) length++;
  return length;
}

function asLoquiError(error: unknown): LoquiError {
  return error instanceof LoquiError ? error : new LoquiError("internal", "the engine failed", { cause: error });
}
