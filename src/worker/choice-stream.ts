import { create, type DescMessage, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import type { CompletionUsageSchema, PromptProgressSchema, TimingsSchema } from "../../gen/loqui/v1/chat_pb.ts";
import { LoquiError } from "../errors.ts";
import type {
  Choice,
  ChoiceOutput,
  ChoicesOptions,
  Generated,
  GenerationRequest,
  PreparedGeneration,
} from "./generator.ts";
import type { CallResult, WorkerCall } from "./method.ts";
import { type ChoiceTotals, timingsOf, usageOf } from "./totals.ts";

/** What a chunk has beside its piece of a choice. */
export interface ChunkExtras {
  readonly usage?: MessageInitShape<typeof CompletionUsageSchema>;
  readonly timings?: MessageInitShape<typeof TimingsSchema>;
  readonly promptProgress?: MessageInitShape<typeof PromptProgressSchema>;
}

/** Encodes the chunks of a streamed answer. Each is of one choice. */
export interface ChunkForms<Output, Delta> {
  /** What a choice begins with; nothing where absent. */
  opening?(index: number, extras: ChunkExtras): Uint8Array;
  delta(index: number, delta: Delta, extras: ChunkExtras): Uint8Array;
  /** Two neighbouring deltas of a choice as one; undefined where they are of different things. */
  join(delta: Delta, next: Delta): Delta | undefined;
  /** Nothing new, but extras. */
  nothing(index: number, extras: ChunkExtras): Uint8Array;
  /** Why a choice ended. The last one to end has the timings, where no usage follows. */
  end(choice: Choice<Output, Delta>, extras: ChunkExtras): Uint8Array;
  /** What all have taken, after all of them. */
  usage(generated: Generated<Output, Delta>): Uint8Array;
}

/**
 * Generates the choices of a request and sends them as they come, those of one
 * between those of others. A choice opens with its first token, so that what
 * goes wrong before the first of all is an error of the call; or with the
 * progress of its prompt, where that is asked for. What comes while others wait
 * to be sent joins them, but not where each token has something of its own to
 * tell. Throws `invalid_request` for a request for the usage so far that doesn't
 * want the usage.
 */
export async function streamChoices<Output extends ChoiceOutput<Delta>, Delta>(
  prepared: PreparedGeneration,
  options: Omit<ChoicesOptions<Output, Delta>, "onDeltas" | "onPrompt" | "onEnd">,
  forms: ChunkForms<Output, Delta>,
  request: Pick<GenerationRequest, "streamOptions" | "timingsPerToken" | "returnProgress">,
  call: WorkerCall,
): Promise<CallResult> {
  const withUsage = request.streamOptions?.includeUsage === true;
  const usageSoFar = request.streamOptions?.continuousUsageStats === true;
  if (usageSoFar && !withUsage) {
    const param = "stream_options.continuous_usage_stats";
    throw new LoquiError("invalid_request", `${param}: needs \`include_usage\` to be true`, { param });
  }
  const hasExtras = usageSoFar || request.timingsPerToken === true;
  const extrasOf = (choice: ChoiceTotals): ChunkExtras => ({
    ...(usageSoFar && { usage: usageOf([choice], 1) }),
    ...(request.timingsPerToken === true && { timings: timingsOf([choice], 1) }),
  });
  const opened = new Set<number>();
  const opening = (index: number, extras: ChunkExtras): Uint8Array[] => {
    if (opened.has(index)) return [];
    opened.add(index);
    return forms.opening === undefined ? [] : [forms.opening(index, extras)];
  };
  const chunks = (index: number, deltas: readonly Delta[], extras: ChunkExtras) =>
    deltas.map((delta) => forms.delta(index, delta, extras));
  /** Deltas that wait to be sent, by their choices. */
  const waiting = new Map<number, Delta[]>();
  function deltasToSend(index: number): Delta[] {
    const deltas = waiting.get(index) ?? [];
    if (!waiting.has(index)) {
      waiting.set(index, deltas);
      call.sendComposed(() => {
        waiting.delete(index);
        return chunks(index, deltas, {});
      });
    }
    return deltas;
  }
  function append(deltas: Delta[], next: Delta): void {
    const last = deltas.at(-1);
    const joined = last === undefined ? undefined : forms.join(last, next);
    if (joined === undefined) deltas.push(next);
    else deltas[deltas.length - 1] = joined;
  }
  function endOf(choice: Choice<Output, Delta>, more: ChunkExtras = {}): Uint8Array[] {
    const extras = extrasOf(choice);
    return [
      ...opening(choice.index, extras),
      ...chunks(choice.index, choice.rest, extras),
      forms.end(choice, { ...extras, ...more }),
    ];
  }

  let left = options.prompts.length * options.choices;
  let last: Choice<Output, Delta> | undefined;
  const generated = await prepared.run<Output, Delta>(
    {
      ...options,
      onDeltas(index, deltas, soFar) {
        if (opened.has(index) && deltas.length === 0) return;
        const extras = hasExtras ? extrasOf(soFar()) : {};
        const first = opening(index, extras);
        if (first.length > 0) call.send(...first);
        if (deltas.length === 0) return;
        if (hasExtras) call.send(...chunks(index, deltas, extras));
        else for (const delta of deltas) append(deltasToSend(index), delta);
      },
      ...(request.returnProgress === true && {
        onPrompt(index, processed, soFar) {
          const { promptTokens: total, cachedTokens: cache, promptMs: timeMs } = soFar;
          const extras = extrasOf({ result: { ...soFar, promptTokens: processed }, reasoningTokens: 0 });
          const promptProgress = { total, cache, processed, timeMs };
          call.send(...opening(index, extras), forms.nothing(index, { ...extras, promptProgress }));
        },
      }),
      onEnd(choice) {
        left -= 1;
        // The last one goes with the end of the call: one write.
        if (left > 0) call.send(...endOf(choice));
        else last = choice;
      },
    },
    call,
  );
  return {
    last: [
      ...(last === undefined ? [] : endOf(last, withUsage ? {} : { timings: generated.timings })),
      ...(withUsage ? [forms.usage(generated)] : []),
    ],
    totals: generated.totals,
  };
}

/**
 * Encodes the chunks of an answer. What they have in common is encoded once: in
 * Protobuf the bytes of two parts, one behind the other, are the whole.
 */
export function chunkEncoder<Desc extends DescMessage>(
  schema: Desc,
  common: MessageInitShape<Desc>,
): (rest: MessageInitShape<Desc>) => Uint8Array {
  const encode = (part: MessageInitShape<Desc>) => toBinary(schema, create(schema, part));
  const head = encode(common);
  return (rest) => Buffer.concat([head, encode(rest)]);
}
