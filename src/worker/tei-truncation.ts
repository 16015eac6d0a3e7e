import { TruncationDirection } from "../../gen/loqui/v1/common_pb.ts";
import type { Truncation } from "../engines/text-engine.ts";

/** What TEI's requests say of texts that don't fit. */
export interface TeiTruncation {
  readonly truncate?: boolean | undefined;
  readonly truncationDirection: TruncationDirection;
}

/** Where they are cut: nowhere unless `truncate` says so, else at their end. */
export function teiTruncation({ truncate, truncationDirection }: TeiTruncation): Truncation {
  if (truncate !== true) return "none";
  return truncationDirection === TruncationDirection.LEFT ? "start" : "end";
}
