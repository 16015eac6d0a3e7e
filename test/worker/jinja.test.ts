import { readFileSync } from "node:fs";
import { Template } from "@huggingface/jinja";
import { describe, expect, test } from "vitest";

const read = (name: string) => JSON.parse(readFileSync(new URL(`jinja/${name}.json`, import.meta.url), "utf8"));

interface Reference {
  readonly variables: Readonly<Record<string, unknown>>;
  readonly cases: readonly { readonly template: string; readonly text?: string; readonly error?: string }[];
}

/** What Jinja2 makes of templates; made by jinja/make.py. */
const { variables, cases }: Reference = read("reference");
/** Those that the renderer refuses or renders otherwise; docs/chat-templates.md says so. */
const gaps = new Set<string>(read("gaps"));

/** Undefined where the template is refused. */
function render(template: string): string | undefined {
  try {
    return new Template(template).render(structuredClone(variables) as Record<string, unknown>);
  } catch {
    return undefined;
  }
}

describe("chat templates as Jinja2 renders them", () => {
  test.each(cases)("$template", ({ template, text }) => {
    // One that is as Jinja2's leaves the list, and the docs.
    if (gaps.has(template)) expect(render(template)).not.toBe(text);
    else expect(render(template)).toBe(text);
  });

  test("all gaps are in the reference", () => {
    const known = new Set(cases.map(({ template }) => template));
    expect([...gaps].filter((template) => !known.has(template))).toEqual([]);
  });
});
