import { create, type MessageInitShape, type MessageShape } from "@bufbuild/protobuf";
import {
  type StreamEmbeddingsItem,
  StreamEmbeddingsItemSchema,
  type StreamEmbeddingsOptions,
  type StreamEmbeddingsRequest,
  StreamEmbeddingsRequestSchema,
  type StreamEmbeddingsResponse,
  StreamEmbeddingsResponseSchema,
} from "../../gen/loqui/v1/embedding_pb.ts";
import { EmbeddingItemService, EmbedItemsRequestSchema } from "../../gen/loqui/worker/v1/worker_pb.ts";
import { bytesOf } from "../encoded-message.ts";
import { errorDetail } from "../error-detail.ts";
import { LoquiError, toLoquiError } from "../errors.ts";
import type { Gateway } from "../gateway/gateway.ts";
import type { RequestContext, RequestRecord } from "../request-context.ts";
import { checkMessage } from "./check-message.ts";
import { createItemWindow, type ItemWindow } from "./item-window.ts";

/** Items sent to the backend together. */
const groupItems = 32;
/** Groups that are at the backend at the same time: while one is computed the next is tokenized. */
const maxGroups = 2;
/** The longest wait before a group that met a full queue is sent again, in milliseconds. */
const maxBackoffMs = 1_000;

/** Characters of an id that are given back; the schema allows as many bytes. */
const maxIdLength = 512;

/** What is the fault of a single item where a group of one meets it; of several each is sent alone. */
const itemKinds: ReadonlySet<string> = new Set(["worker_crashed", "input_quarantined", "internal", "too_large"]);

/**
 * StreamEmbeddings: items are read while there is room for their answers, sent
 * to the model's backend in groups of what has come, and answered as each group
 * is. An item that is wrong, or that the worker dies of, gets an error of its
 * own; where the queue is full the stream waits. All else ends the call.
 */
export function createEmbeddingStream(gateway: Gateway) {
  return async function* streamEmbeddings(
    requests: AsyncIterable<StreamEmbeddingsRequest>,
    context: RequestContext,
  ): AsyncGenerator<StreamEmbeddingsResponse> {
    const iterator = requests[Symbol.asyncIterator]();
    using stop = stopSignal();
    const inner: RequestContext = { ...context, signal: AbortSignal.any([context.signal, stop.signal]) };
    const { record, signal } = inner;
    record.promptTokens = 0;
    record.completionTokens = 0;
    const options = await readOptions(iterator);
    // Loads the model and checks the options before any text is read.
    await embed(gateway, options, [], inner, () => undefined);

    const window = createItemWindow<StreamEmbeddingsItem, StreamEmbeddingsResponse>();
    const fail = (error: unknown) => window.fail(error);
    const abort = () => fail(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    try {
      void readItems(iterator, window).catch(fail);
      for (let sender = 0; sender < maxGroups; sender += 1) {
        void sendGroups(gateway, options, window, inner).catch(fail);
      }
      for (;;) {
        const answer = await window.nextAnswer();
        if (answer === undefined) return;
        yield answer;
        window.answered();
      }
    } finally {
      signal.removeEventListener("abort", abort);
      window.fail(new LoquiError("cancelled", "the stream has ended"));
      // Not waited for: the client may never send again.
      void iterator.return?.()?.then(undefined, () => {});
    }
  };
}

type Requests = AsyncIterator<StreamEmbeddingsRequest>;
type Window = ItemWindow<StreamEmbeddingsItem, StreamEmbeddingsResponse>;

async function readOptions(requests: Requests): Promise<StreamEmbeddingsOptions> {
  const first = await requests.next();
  if (first.done) throw new LoquiError("invalid_request", "there is no message with options", { param: "options" });
  checkMessage(StreamEmbeddingsRequestSchema, first.value);
  if (first.value.message.case === "options") return first.value.message.value;
  throw new LoquiError("invalid_request", "options: the first message must have them", { param: "options" });
}

async function readItems(requests: Requests, window: Window): Promise<void> {
  for (;;) {
    await window.room();
    const next = await requests.next();
    if (next.done) return window.end();
    const { message } = next.value;
    // A message that is nothing has no id to answer with.
    if (message.case === undefined) checkMessage(StreamEmbeddingsRequestSchema, next.value);
    if (message.case !== "item") {
      throw new LoquiError("invalid_request", "options: only the first message may have them", { param: "options" });
    }
    const item = message.value;
    const wrong = violationOf(item);
    if (wrong === undefined) window.add(item, sizeOf(item));
    else window.addAnswered(failed(item, wrong));
  }
}

function violationOf(item: StreamEmbeddingsItem): LoquiError | undefined {
  try {
    checkMessage(StreamEmbeddingsItemSchema, item);
    return undefined;
  } catch (error) {
    if (error instanceof LoquiError) return error;
    throw error;
  }
}

/** Bytes that an item takes while it waits, roughly. */
function sizeOf({ input }: StreamEmbeddingsItem): number {
  if (input.case === "text") return 2 * input.value.length;
  return input.case === "tokens" ? 8 * input.value.ids.length : 0;
}

/** Sends groups one after the other until there are no more items. */
async function sendGroups(
  gateway: Gateway,
  options: StreamEmbeddingsOptions,
  window: Window,
  context: RequestContext,
): Promise<void> {
  for (;;) {
    using group = await window.take(groupItems);
    if (group.items.length === 0) return;
    await answerGroup(gateway, options, group.items, window, context);
  }
}

async function answerGroup(
  gateway: Gateway,
  options: StreamEmbeddingsOptions,
  group: readonly StreamEmbeddingsItem[],
  window: Window,
  context: RequestContext,
): Promise<void> {
  let done = 0;
  let tries = 0;
  while (done < group.length) {
    try {
      // A group whose answers would be large is answered in parts.
      await embed(gateway, options, group.slice(done), context, (answer) => {
        window.answer(answer, bytesOf(answer)?.length ?? 0);
        done += 1;
        return window.readerReady();
      });
      tries = 0;
    } catch (reason) {
      const error = toLoquiError(reason);
      context.signal.throwIfAborted();
      if (error.kind === "overloaded") {
        await pause(Math.min(50 * 2 ** tries, maxBackoffMs), context.signal);
        tries += 1;
        continue;
      }
      if (!itemKinds.has(error.kind)) throw error;
      const rest = group.slice(done);
      const [only] = rest;
      if (rest.length === 1 && only !== undefined) window.answer(failed(only, error), 0);
      else for (const item of rest) await answerGroup(gateway, options, [item], window, context);
      return;
    }
  }
}

/**
 * Has the backend embed items; `take` gets each answer in their order, and is
 * waited for. There may be fewer answers than items, but one at least.
 */
async function embed(
  gateway: Gateway,
  options: StreamEmbeddingsOptions,
  items: readonly StreamEmbeddingsItem[],
  context: RequestContext,
  take: (answer: StreamEmbeddingsResponse) => Promise<void> | undefined,
): Promise<void> {
  const { record } = context;
  const init: MessageInitShape<typeof EmbedItemsRequestSchema> = { model: options.model, options, items: [...items] };
  const request = create(EmbedItemsRequestSchema, init) as MessageShape<typeof EmbedItemsRequestSchema>;
  // Of each group the call's own record would keep the last one's figures only.
  const { promptTokens: _, queueMs: __, ...rest } = record;
  const own: RequestRecord = { ...rest };
  let answers = 0;
  try {
    const { embedItems } = EmbeddingItemService.method;
    for await (const answer of gateway.call(embedItems, request, { ...context, record: own }, { encoded: true })) {
      answers += 1;
      const pending = take(answer);
      if (pending !== undefined) await pending;
    }
    if (answers === 0 && items.length > 0) throw new LoquiError("internal", "the backend left items without an answer");
  } finally {
    addTo(record, own);
  }
}

function addTo(record: RequestRecord, { model, modelId, backend, ...own }: RequestRecord): void {
  if (model !== undefined) record.model = model;
  if (modelId !== undefined) record.modelId = modelId;
  if (backend !== undefined) record.backend = backend;
  record.promptTokens = (record.promptTokens ?? 0) + (own.promptTokens ?? 0);
  if (own.queueMs !== undefined) record.queueMs = Math.max(record.queueMs ?? 0, own.queueMs);
  if (own.retries !== undefined) record.retries = own.retries;
}

function failed({ id }: StreamEmbeddingsItem, error: LoquiError): StreamEmbeddingsResponse {
  const message = error.message.toWellFormed();
  return create(StreamEmbeddingsResponseSchema, {
    // That it is too long may be what is wrong.
    id: id.slice(0, maxIdLength),
    result: { case: "error", value: { message, detail: errorDetail(error) } },
  });
}

function stopSignal(): { readonly signal: AbortSignal; [Symbol.dispose](): void } {
  const controller = new AbortController();
  return {
    signal: controller.signal,
    [Symbol.dispose]: () => controller.abort(new LoquiError("cancelled", "the stream has ended")),
  };
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", abort);
      resolve();
    }, ms);
    const abort = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    signal.addEventListener("abort", abort, { once: true });
  });
}
