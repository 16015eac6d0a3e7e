import type { z } from "zod";

/** A mistake in the configuration: shown to the operator as it is, without a stack. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
}

/** The first issue of a zod error as `models[0].sequences: too small, …`. */
export function describeIssue(error: z.ZodError): string {
  const issue = error.issues[0];
  if (issue === undefined) return error.message;
  const path = issue.path.reduce<string>(
    (text, key) => (typeof key === "number" ? `${text}[${key}]` : text === "" ? String(key) : `${text}.${String(key)}`),
    "",
  );
  return path === "" ? issue.message : `${path}: ${issue.message}`;
}
