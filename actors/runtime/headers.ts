/** Names of the headers that the runtime writes beside a message's bytes. */
export const HEADER = Object.freeze({
  kind: "Tw-Kind",
  tenant: "Tw-Tenant",
  key: "Tw-Key",
  /** Name of the rpc, or full name of the event's message. */
  type: "Tw-Type",
  /** Entries of a bundle that holds several. */
  entries: "Tw-Entries",
  /** `<group>.<log>` of the commit that an event comes from. */
  log: "Tw-Log",
  /** `<log sequence>.<index>` of an event (J15). */
  sequence: "Tw-Seq",
  /** Milliseconds since 1970. */
  time: "Tw-Time",
  /** Attempts that a task had used up when it was scheduled again. */
  attempt: "Tw-Attempt",
  /** W3C trace context. */
  trace: "traceparent",
});
