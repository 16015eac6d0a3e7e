import { create, type DescMessage, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import type { StreamOptions } from "../../gen/loqui/v1/chat_pb.ts";
import type { Choice, ChoiceOutput, ChoicesOptions, Generated, PreparedGeneration } from "./generator.ts";
import type { CallResult, WorkerCall } from "./method.ts";

/** Encodes the chunks of a streamed answer. Each is of one choice. */
export interface ChunkForms<Output, Delta> {
  /** What a choice begins with; nothing where absent. */
  opening?(index: number): Uint8Array;
  delta(index: number, delta: Delta): Uint8Array;
  /** Why a choice ended. The last one to end has the timings, where no usage follows. */
  end(choice: Choice<Output, Delta>, timings: Generated<Output, Delta>["timings"] | undefined): Uint8Array;
  /** What all have taken, after all of them. */
  usage(generated: Generated<Output, Delta>): Uint8Array;
}

/**
 * Generates the choices of a request and sends them as they come, those of one
 * between those of others. A choice opens with its first token, so that what
 * goes wrong before the first of all is an error of the call.
 */
export async function streamChoices<Output extends ChoiceOutput<Delta>, Delta>(
  prepared: PreparedGeneration,
  options: Omit<ChoicesOptions<Output, Delta>, "onDeltas" | "onEnd">,
  forms: ChunkForms<Output, Delta>,
  streamOptions: StreamOptions | undefined,
  call: WorkerCall,
): Promise<CallResult> {
  const opened = new Set<number>();
  const opening = (index: number): Uint8Array[] => {
    if (opened.has(index)) return [];
    opened.add(index);
    return forms.opening === undefined ? [] : [forms.opening(index)];
  };
  const chunks = (index: number, deltas: readonly Delta[]) => deltas.map((delta) => forms.delta(index, delta));
  const endOf = (choice: Choice<Output, Delta>, timings?: Generated<Output, Delta>["timings"]) => [
    ...opening(choice.index),
    ...chunks(choice.index, choice.rest),
    forms.end(choice, timings),
  ];

  let left = options.prompts.length * options.choices;
  let last: Choice<Output, Delta> | undefined;
  const generated = await prepared.run<Output, Delta>(
    {
      ...options,
      onDeltas(index, deltas) {
        const messages = [...opening(index), ...chunks(index, deltas)];
        if (messages.length > 0) call.send(...messages);
      },
      onEnd(choice) {
        left -= 1;
        // The last one goes with the end of the call: one write.
        if (left > 0) call.send(...endOf(choice));
        else last = choice;
      },
    },
    call,
  );
  const withUsage = streamOptions?.includeUsage === true;
  return {
    last: [
      ...(last === undefined ? [] : endOf(last, withUsage ? undefined : generated.timings)),
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
