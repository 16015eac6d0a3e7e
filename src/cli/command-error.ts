/** A command that can't go on, in words for the person at the terminal. */
export class CommandError extends Error {
  override readonly name = "CommandError";
}
