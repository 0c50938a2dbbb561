/** Asks for a process. `lockPath` and `removeAfter` are removed if the owner dies before the process. */
export interface StartRequest {
  readonly type: "start";
  readonly id: number;
  readonly command: string;
  readonly args: readonly string[];
  readonly lockPath?: string;
  readonly removeAfter: readonly string[];
}

export type GuardianRequest =
  | StartRequest
  | { readonly type: "signal"; readonly id: number; readonly signal: NodeJS.Signals };

export type GuardianEvent =
  | { readonly type: "started"; readonly id: number; readonly pid: number }
  | {
      readonly type: "exited";
      readonly id: number;
      readonly code: number | null;
      readonly signal: NodeJS.Signals | null;
      /** Its last 4,096 characters. */
      readonly stderr: string;
    };
