/** What the system says when it has no more of something for now: file descriptors, processes, memory. */
const codes = ["EMFILE", "ENFILE", "EAGAIN", "ENOMEM"];

/** The code by which an error, or what caused it, says that the system lacks something for now. */
export function resourceCode(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  const { code } = error as NodeJS.ErrnoException;
  return code !== undefined && codes.includes(code) ? code : resourceCode(error.cause);
}

/** Whether the same may succeed as soon as others need less. */
export function lacksResources(error: unknown): boolean {
  return resourceCode(error) !== undefined;
}
