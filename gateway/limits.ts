/** Every bound of the gateway with its unit; what happens at it is said where it is used. */
export const GATEWAY_LIMITS = Object.freeze({
  /** Longer client deadlines of unary calls are refused with `invalid_argument`; without one this one holds. */
  deadlineMsMax: 30_000,
  /** One request message. Refused with `resource_exhausted`, before its body is read where its length is announced. */
  requestBytesMax: 1_048_576,
  /** One response message; a list page is far below. */
  responseBytesMax: 16_777_216,
  /** Headers of one request. */
  headerBytesMax: 32_768,
  /** Sockets; more are refused by closing them. */
  connectionsMax: 10_000,
  /**
   * Connections that wait to be accepted, as far as the kernel allows it (net.core.somaxconn). One more is not
   * refused but left without an answer: its client tries again after 1, 3, 7 seconds.
   */
  connectionsWaitingMax: 4_096,
  /** Calls and streams on one HTTP/2 connection. */
  streamsPerConnectionMax: 1_000,
  /** Unary calls under way; more are refused with OVERLOADED. */
  callsInFlightMax: 4_096,
  /**
   * While a call waits for longer to be begun, and more than a few behind it, writes are refused with OVERLOADED: this
   * process cannot keep up.
   */
  callWaitMsMax: 100,
  /** Streams open; more are refused with OVERLOADED. */
  streamsOpenMax: 5_000,
  /** A client has this long to send its preface, its headers, and its whole request. */
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 30_000,
  /** An HTTP/1.1 connection without a request is closed after this. Above the 60 s of common proxies. */
  keepAliveMs: 75_000,
  /**
   * An HTTP/1.1 connection is closed when no byte gets through for so long: a stream says something every heartbeatMs,
   * so its reader takes nothing.
   */
  stalledMsMax: 60_000,
  /** An HTTP/2 connection is pinged this often, and dropped when a ping is not answered before the next. */
  pingIntervalMs: 30_000,
  /** A stream that has nothing to say says so this often: proxies cut silent connections after 60 s. */
  heartbeatMs: 15_000,
  /** Things that wait for one slow reader; above it the reader gets a fresh snapshot instead. */
  watchPendingMax: 1_000,
  /** Updates of one kind and tenant that a returning reader can resume from. */
  watchReplayMax: 4_096,
  /** A feed without readers is kept this long for those that come back. */
  watchLingerMs: 60_000,
  /** Aggregates are sent at most this often. */
  aggregateIntervalMs: 250,
  /** A watch of stock sends what has changed at most this often. */
  stockIntervalMs: 100,
  /** Time between "not ready" and closing the port: load balancers need it to look away. */
  drainDelayMs: 0,
  /** Calls that are under way at a drain may go on this long. */
  drainDeadlineMs: 10_000,
  pageSizeDefault: 50,
  topDefault: 5,
  /** Candidates that one list call reads to fill its page; a short page with a token is legal. */
  listReadsMax: 2_000,
});

export type GatewayLimits = { readonly [K in keyof typeof GATEWAY_LIMITS]: number };
