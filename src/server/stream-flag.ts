import { type DescField, type DescMethod, getOption, hasOption } from "@bufbuild/protobuf";
import { method as methodOption } from "../../gen/loqui/rest/v1/annotations_pb.ts";
import { LoquiError } from "../errors.ts";
import type { RequestContext } from "../request-context.ts";
import { parseCondition } from "../rest/condition.ts";
import type { RequestInput, ServiceImplementation } from "../services/handlers.ts";

/**
 * Makes unary methods refuse the flag that asks for their streaming variant.
 *
 * REST shares one path between `CreateChatCompletion` and its variant with
 * `when: "stream=true"` and picks by that flag. On the other protocols the
 * client picks the method, and a unary call with `stream: true` would be
 * answered in a way that its sender does not expect: INVALID_ARGUMENT.
 */
export function refuseStreamFlag(service: ServiceImplementation): ServiceImplementation {
  const handlers = { ...service.handlers };
  for (const variant of service.desc.methods) {
    const base = service.desc.methods.find((method) => method.name === variantOf(variant));
    if (base === undefined || base.methodKind !== "unary") continue;
    const flag = flagOf(variant);
    const handler = handlers[base.localName] as
      | ((request: RequestInput, context: RequestContext) => Promise<never>)
      | undefined;
    if (flag === undefined || handler === undefined) continue;
    const guarded = (request: RequestInput, context: RequestContext): Promise<never> => {
      if ((request as unknown as Record<string, unknown>)[flag.localName] !== true) return handler(request, context);
      throw new LoquiError(
        "invalid_request",
        `${flag.name} is true, but ${base.name} answers with one message: call ${variant.name} or leave it out`,
        { param: flag.name },
      );
    };
    handlers[base.localName] = guarded as NonNullable<ServiceImplementation["handlers"][string]>;
  }
  return { ...service, handlers };
}

function variantOf(method: DescMethod): string | undefined {
  return hasOption(method, methodOption) ? getOption(method, methodOption).variantOf : undefined;
}

/** The boolean field that selects a variant when it is true. */
function flagOf(variant: DescMethod): DescField | undefined {
  const { when } = getOption(variant, methodOption);
  const condition = parseCondition(when, variant.input);
  return condition.literal === true ? condition.field : undefined;
}
