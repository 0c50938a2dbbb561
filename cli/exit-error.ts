/** Ends the command with a message for the person at the terminal, without a stack. */
export class ExitError extends Error {
  override readonly name = "ExitError";
  readonly exitCode: number;

  /** @param exitCode 1 for a bad result; 64 usage, 69 unavailable, 78 configuration, as sysexits has them */
  constructor(message: string, exitCode = 1) {
    super(message);
    this.exitCode = exitCode;
  }
}
