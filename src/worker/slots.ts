/**
 * One sequence of the engine's KV cache, with what it holds. A slot that no
 * generation uses keeps its cells: they are the prefix cache.
 */
export interface Slot {
  readonly sequence: number;
  /** The tokens whose cells the sequence holds: the first `length` of these. */
  readonly cells: Uint32Array;
  length: number;
  /** Who may share the cells; see `Generation.cacheScope`. */
  scope: string;
  /** When its last generation left, on the pool's own clock; 0 is never. */
  usedAt: number;
  busy: boolean;
}

/** Where a prefix of a prompt lies already. */
export interface HeldPrefix {
  readonly slot: Slot;
  /** Number of tokens that the slot and the prompt have in common at their start. */
  readonly length: number;
}

/** The fixed pool of an engine's sequences. */
export interface SlotPool {
  readonly all: readonly Slot[];
  readonly idle: number;
  /** Takes the idle slot that suits a prompt best; undefined where all are busy. */
  take(prompt: Uint32Array, scope: string): Slot | undefined;
  /** Gives a slot back; its cells stay. */
  release(slot: Slot): void;
  /** The longest prefix of a prompt that a slot other than `except` holds, busy or not. */
  longestPrefix(prompt: Uint32Array, scope: string, except?: Slot): HeldPrefix | undefined;
}

/**
 * What a slot may hold and still be given up before older ones, in tokens: to
 * evaluate so many again takes less than a gap costs an answer of some hundred
 * tokens (135 million parameters, two cores: 1.4 ms a token against a pass of 9).
 */
const cheapCells = 1024;

/**
 * Makes the pool. `take` prefers the slot with the longest common prefix, as
 * llama-server does, unless taking it would throw away more cells than it
 * keeps: then one is taken that wasn't used for long, or that holds little, into
 * which the scheduler copies the prefix. Costs one comparison of tokens per slot
 * and token.
 *
 * Of those it takes one beside a busy one: llama.cpp decodes sequences together
 * whose numbers are consecutive, and goes through all weights once more for each
 * gap (four streams at 14, 15, 4 and 5 took 35 ms a step, at 4 to 7 22). Where
 * none is, one that has room behind it for those who come next.
 */
export function createSlotPool(sequences: number, contextLength: number): SlotPool {
  const all = Array.from(
    { length: sequences },
    (_, sequence): Slot => ({
      sequence,
      cells: new Uint32Array(contextLength),
      length: 0,
      scope: "",
      usedAt: 0,
      busy: false,
    }),
  );
  let clock = 0;
  let idle = sequences;

  function longestPrefixIn(slots: Iterable<Slot>, prompt: Uint32Array, scope: string): HeldPrefix | undefined {
    let best: HeldPrefix | undefined;
    for (const slot of slots) {
      const length = heldPrefix(slot, prompt, scope);
      if (length > (best?.length ?? 0)) best = { slot, length };
    }
    return best;
  }

  /** Slots in a row that those who come together may take. */
  const room = Math.ceil(sequences / 4);

  function dispensable(slots: readonly Slot[]): Slot | undefined {
    const busyNeighbours = ({ sequence }: Slot) =>
      Number(all[sequence - 1]?.busy ?? false) + Number(all[sequence + 1]?.busy ?? false);
    /** When the last one of those behind it, and it itself, was used. */
    const lastUseOfRoom = ({ sequence }: Slot) => {
      const behind = all.slice(sequence, sequence + room);
      const free = behind.length === room && behind.every((slot) => !slot.busy);
      return free ? Math.max(...behind.map(lastUse)) : Number.MAX_SAFE_INTEGER;
    };
    const byAge = slots.toSorted((a, b) => lastUse(a) - lastUse(b));
    const older = Math.ceil(byAge.length / 2);
    const [best] = byAge
      .filter(({ length }, age) => age < older || length <= cheapCells)
      .map((slot) => ({ slot, neighbours: busyNeighbours(slot), roomUse: lastUseOfRoom(slot) }))
      // Sorting is stable: the oldest of those that are alike.
      .sort((a, b) => b.neighbours - a.neighbours || (a.neighbours > 0 ? 0 : a.roomUse - b.roomUse));
    return best?.slot;
  }

  return {
    all,
    get idle() {
      return idle;
    },
    take(prompt, scope) {
      const free = all.filter((slot) => !slot.busy);
      const best = longestPrefixIn(free, prompt, scope);
      const slot =
        best !== undefined && (best.length * 2 >= best.slot.length || free.length === 1)
          ? best.slot
          : dispensable(free.filter((candidate) => candidate !== best?.slot));
      if (slot === undefined) return undefined;
      slot.busy = true;
      idle -= 1;
      return slot;
    },
    release(slot) {
      slot.busy = false;
      slot.usedAt = ++clock;
      idle += 1;
    },
    longestPrefix(prompt, scope, except) {
      return longestPrefixIn(
        all.filter((slot) => slot !== except),
        prompt,
        scope,
      );
    },
  };
}

/** Number of a prompt's first tokens that a slot holds; 0 where it belongs to another scope. */
export function heldPrefix(slot: Slot, prompt: Uint32Array, scope: string): number {
  if (slot.scope !== scope) return 0;
  const end = Math.min(slot.length, prompt.length);
  let length = 0;
  while (length < end && slot.cells[length] === prompt[length]) length++;
  return length;
}

/** On the pool's clock; one that holds nothing is as good as never used. */
function lastUse(slot: Slot): number {
  return slot.length === 0 ? 0 : slot.usedAt;
}
