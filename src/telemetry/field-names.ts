import type { DescFile, DescMessage } from "@bufbuild/protobuf";
import { file_loqui_v1_chat } from "../../gen/loqui/v1/chat_pb.ts";
import { file_loqui_v1_common } from "../../gen/loqui/v1/common_pb.ts";
import { file_loqui_v1_embedding } from "../../gen/loqui/v1/embedding_pb.ts";
import { file_loqui_v1_model } from "../../gen/loqui/v1/model_pb.ts";
import { file_loqui_v1_rerank } from "../../gen/loqui/v1/rerank_pb.ts";
import { file_loqui_v1_speech } from "../../gen/loqui/v1/speech_pb.ts";

const files: readonly DescFile[] = [
  file_loqui_v1_chat,
  file_loqui_v1_common,
  file_loqui_v1_embedding,
  file_loqui_v1_model,
  file_loqui_v1_rerank,
  file_loqui_v1_speech,
];

function namesOf(message: DescMessage): string[] {
  const own = [...message.fields, ...message.oneofs].map(({ name }) => name);
  return [...own, ...message.nestedMessages.flatMap(namesOf)];
}

let known: ReadonlySet<string> | undefined;

/**
 * The path of a request's field without the names that the client chose: keys
 * of maps, and members that the schema doesn't know.
 */
export function knownPath(param: string): string {
  known ??= new Set(files.flatMap((file) => file.messages.flatMap(namesOf)));
  return param
    .replace(/\["(?:[^"\\]|\\.)*"\]/g, ".…")
    .split(".")
    .map((step) => {
      const [, name = "", indexes = ""] = /^([^[]*)((?:\[\d+\])*)$/.exec(step) ?? [];
      return known?.has(name) ? name + indexes : `…${indexes}`;
    })
    .join(".");
}
