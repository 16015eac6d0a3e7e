import { type DescMethod, getOption } from "@bufbuild/protobuf";
import { Health } from "../../gen/grpc/health/v1/health_pb.ts";
import { method as methodOption } from "../../gen/loqui/rest/v1/annotations_pb.ts";
import { isScope, type Scope } from "../access/scopes.ts";

/**
 * What a caller needs: nothing at all, not even a limit (`none`); no key, though
 * one counts (`public`); a key of whatever scopes (`key`); a key with that scope.
 */
export type NeededAccess = "none" | "public" | "key" | Scope;

/**
 * What a method's caller needs, by the `scope` of `loqui.rest.v1.method`. Health
 * needs nothing: those who probe have no key. A method without a scope, such as
 * reflection, needs any key. Throws for a scope that doesn't exist.
 */
export function accessOf(method: DescMethod): NeededAccess {
  if (method.parent.typeName === Health.typeName) return "none";
  const { scope } = getOption(method, methodOption);
  if (scope === "") return "key";
  if (!isScope(scope)) throw new Error(`${method.parent.typeName}.${method.name}: there is no scope ${scope}`);
  return scope;
}
