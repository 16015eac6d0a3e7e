import { type DescMessage, getOption, hasOption } from "@bufbuild/protobuf";
import { field as fieldRules, oneof as oneofRules } from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";

/**
 * Whether the empty message breaks a rule of protovalidate in a field that the
 * path doesn't set, so that a request can't do without a body. Rules in CEL are
 * not looked at: they speak up when the message is validated.
 */
export function needsBody(input: DescMessage, pathFields: ReadonlySet<string>): boolean {
  const requiredOneof = input.oneofs.some(
    (oneof) => hasOption(oneof, oneofRules) && getOption(oneof, oneofRules).required,
  );
  return requiredOneof || requiredFields(input).some((name) => !pathFields.has(name));
}

/** Names of the fields that protovalidate doesn't let be left out. */
export function requiredFields(input: DescMessage): string[] {
  return input.fields
    .filter((field) => {
      if (!hasOption(field, fieldRules)) return false;
      const { required, type } = getOption(field, fieldRules);
      if (required) return true;
      if (type.case === "repeated") return type.value.minItems > 0n;
      // Presence makes the other rules hold for present values only.
      if (type.case !== "string" || field.proto.proto3Optional || field.oneof !== undefined) return false;
      return type.value.minLen > 0n || type.value.minBytes > 0n;
    })
    .map((field) => field.name);
}
