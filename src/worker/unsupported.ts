import { type CreateChatCompletionRequest, OutputModality } from "../../gen/loqui/v1/chat_pb.ts";
import { LoquiError } from "../errors.ts";
import type { GenerationRequest } from "./generator.ts";

/** A field that local models can't honour yet, and when a request needs it to be honoured. */
interface Unsupported<Request> {
  /** The field as JSON names it. */
  readonly param: string;
  readonly asked: (request: Request) => boolean;
  /** What exactly is not supported; the field alone where absent. */
  readonly what?: string;
}

/**
 * Nothing is silently ignored: what changes the answer and can't be done is
 * refused by name. What builds one of these deletes its row, and says so in
 * request-fields.ts, where all that a request can hold has a row.
 */
const forAll: readonly Unsupported<GenerationRequest>[] = [{ param: "typical_p", asked: (r) => (r.typicalP ?? 1) < 1 }];

const forChat: readonly Unsupported<CreateChatCompletionRequest>[] = [
  {
    param: "modalities",
    what: "the modality `audio`",
    asked: (r) => r.modalities.includes(OutputModality.AUDIO),
  },
  { param: "audio", asked: (r) => r.audio !== undefined },
  { param: "web_search_options", asked: (r) => r.webSearchOptions !== undefined },
  { param: "moderation", asked: (r) => r.moderation !== undefined },
  { param: "retrieval", asked: (r) => r.retrieval !== undefined },
];

/** Throws `unsupported` for the first field of a request that asks for what can't be done yet. */
export function refuseUnsupported(request: GenerationRequest): void {
  const row =
    forAll.find(({ asked }) => asked(request)) ??
    (request.$typeName === "loqui.v1.CreateChatCompletionRequest"
      ? forChat.find(({ asked }) => asked(request))
      : undefined);
  if (row === undefined) return;
  const what = row.what ?? `\`${row.param}\``;
  throw new LoquiError("unsupported", `${what} is not supported yet by this model`, { param: row.param });
}
