/** Why the server could not listen; the message is for the person at the terminal. */
export class ListenError extends Error {
  override readonly name = "ListenError";
  /** Node's code, e.g. `EADDRINUSE`; `ERR_TLS_FILES` where a certificate or a key can't be used. */
  readonly code: string;

  constructor(code: string, message: string, cause?: unknown) {
    super(message, { cause });
    this.code = code;
  }
}

/** The error of a `listen` that failed, in words that say what to do. */
export function listenError(error: NodeJS.ErrnoException, host: string, port: number): ListenError {
  const code = error.code ?? "UNKNOWN";
  return new ListenError(code, listenMessage(code, host, port, error.message), error);
}

function listenMessage(code: string, host: string, port: number, message: string): string {
  switch (code) {
    case "EADDRINUSE":
      return `port ${port} on ${host} is taken: stop the program that listens there, or choose another port`;
    case "EACCES":
      return `port ${port} on ${host} needs privileges that this process does not have: choose a port above 1023`;
    case "EADDRNOTAVAIL":
      return `${host} is not an address of this machine`;
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return `host ${host} has no address`;
    default:
      return `can't listen on ${host}, port ${port}: ${message}`;
  }
}
