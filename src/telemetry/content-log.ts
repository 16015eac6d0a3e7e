import { type DescMessage, type MessageShape, toJsonString } from "@bufbuild/protobuf";
import { decodedMessage } from "../encoded-message.ts";
import { methodName } from "../method-name.ts";
import type { Dispatcher } from "../services/dispatcher.ts";
import type { Logger } from "./log.ts";

/** Characters that are kept of a request, and of an answer. */
const maxLength = 65_536;

/**
 * The dispatcher, with what is asked and answered in the log at level `debug`:
 * two lines for each call of one request message. Keys are no part of messages.
 */
export function logContent(dispatcher: Dispatcher, log: Logger): Dispatcher {
  return {
    services: dispatcher.services,
    run(method, input, call) {
      const messages = dispatcher.run(method, input, call);
      if (!log.isLevelEnabled("debug")) return messages;
      const name = methodName(method);
      const { requestId } = call;
      if (!(Symbol.asyncIterator in input)) {
        log.debug({ requestId, method: name, request: shown(method.input, input) }, "request content");
      }
      return kept(messages, method.output, (answer) =>
        log.debug({ requestId, method: name, answer }, "answer content"),
      );
    },
  };
}

async function* kept(
  messages: AsyncIterable<MessageShape<DescMessage>>,
  desc: DescMessage,
  done: (answer: string) => void,
): AsyncGenerator<MessageShape<DescMessage>> {
  let answer = "";
  try {
    for await (const message of messages) {
      if (answer.length < maxLength) answer += `${answer === "" ? "" : "\n"}${shown(desc, message)}`;
      yield message;
    }
  } finally {
    done(answer.slice(0, maxLength));
  }
}

function shown(desc: DescMessage, message: MessageShape<DescMessage>): string {
  try {
    return toJsonString(desc, decodedMessage(desc, message), { useProtoFieldName: true }).slice(0, maxLength);
  } catch {
    // A number or a text that JSON has no form for.
    return "(no JSON)";
  }
}
