import type { DescMethod } from "@bufbuild/protobuf";

/** A method as gRPC names it: `loqui.v1.ChatService/StreamChatCompletion`. */
export function methodName(method: DescMethod): string {
  return `${method.parent.typeName}/${method.name}`;
}
