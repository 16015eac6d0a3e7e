import { create, type DescMessage, isMessage, type MessageShape } from "@bufbuild/protobuf";
import { isReflectMessage, reflect } from "@bufbuild/protobuf/reflect";
import { type HttpBody, HttpBodySchema } from "../../gen/google/api/httpbody_pb.ts";
import { jsonCodec } from "../codec/codec.ts";
import { decodedMessage } from "../encoded-message.ts";
import type { Binding, Target } from "./bindings.ts";

type AnyMessage = MessageShape<DescMessage>;

/** The body of a response. */
export interface Reply {
  readonly contentType: string;
  readonly body: string | Uint8Array;
}

/**
 * Compiles how a method's response message becomes a body: JSON of the message,
 * or of the field that `response_body` names; raw bytes where the message is a
 * google.api.HttpBody or its oneof holds one.
 */
export function createReplier(binding: Binding, target: Target): (message: AnyMessage) => Reply {
  const { output } = target.method;
  if (output.typeName === HttpBodySchema.typeName) return (message) => raw(message);

  const codec = jsonCodec(output);
  const { responseBody } = binding;
  if (responseBody !== undefined) {
    const part = jsonCodec(responseBody.message);
    return (message) => {
      const value = reflect(output, message).get(responseBody);
      return json(part.encode(isReflectMessage(value) ? value.message : create(responseBody.message)));
    };
  }

  const oneof = output.oneofs.find(({ fields }) =>
    fields.some((field) => field.message?.typeName === HttpBodySchema.typeName),
  );
  if (oneof === undefined) return (message) => json(codec.encode(decodedMessage(output, message)));
  return (message) => {
    const view = reflect(output, message);
    const chosen = view.oneofCase(oneof);
    const value = chosen === undefined ? undefined : view.get(chosen);
    if (isReflectMessage(value) && value.desc.typeName === HttpBodySchema.typeName) return raw(value.message);
    return json(codec.encode(message));
  };
}

/** The bytes and the media type of a google.api.HttpBody. */
export function raw(message: AnyMessage): Reply {
  if (!isMessage(message, HttpBodySchema)) throw new Error(`${message.$typeName} is not google.api.HttpBody`);
  const { contentType, data }: HttpBody = message;
  return { contentType: contentType === "" ? "application/octet-stream" : contentType, body: data };
}

function json(body: string): Reply {
  return { contentType: "application/json", body };
}
