/** Copies of a JSON value with one change each, somewhere in it: many are no longer valid for its schema. */
export function changed(value: unknown, random: () => number): unknown[] {
  const results: unknown[] = [];
  const visit = (at: unknown, put: (other: unknown) => unknown): void => {
    for (const other of replacements(at, random)) results.push(put(other));
    if (Array.isArray(at)) {
      at.forEach((item, i) => {
        visit(item, (other) => put(at.with(i, other)));
        results.push(put(at.toSpliced(i, 1)));
      });
      results.push(put([...at, at.at(-1) ?? 0]), put([...at, { extra: 1 }]));
    } else if (typeof at === "object" && at !== null) {
      const members = Object.entries(at);
      members.forEach(([name, member], i) => {
        visit(member, (other) => put(Object.fromEntries(members.with(i, [name, other]))));
        results.push(put(Object.fromEntries(members.toSpliced(i, 1))));
        results.push(put(Object.fromEntries(members.with(i, [`${name}x`, member]))));
      });
      results.push(
        put(Object.fromEntries([...members, ["extra", 1]])),
        put(Object.fromEntries([...members, ["zz", "s"]])),
      );
    }
  };
  visit(value, (other) => other);
  return results;
}

function replacements(value: unknown, random: () => number): unknown[] {
  const others = [null, true, 0, "x", [], {}];
  const other = others[Math.floor(random() * others.length)];
  if (typeof value === "number")
    return [other, value + 1, value - 1, -value, value * 10 + 7, value + 0.5, String(value)];
  if (typeof value === "string") {
    const cut = Math.floor(random() * (value.length + 1));
    return [
      other,
      `${value}x`,
      value.slice(1),
      value.slice(0, -1),
      `${value.slice(0, cut)}~${value.slice(cut)}`,
      value.repeat(3),
    ];
  }
  return [other, "x", 0];
}
