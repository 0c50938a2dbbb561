import { assert } from "./assert.ts";

/** Every bound of the runtime with its unit; what happens at it is said where it is used. */
export const LIMITS = Object.freeze({
  /** Largest message that we store; NATS' default payload limit is 1 MiB. */
  messageBytesMax: 1_048_576,
  /** A commit closes before it grows past this. */
  commitBytesMax: 900_000,
  /** Room for headers within a message. */
  headerBytesMax: 8_192,
  /** Replies of one commit to one caller that travel in one message. */
  repliesPerMessageMax: 128,
  /** Inputs taken into one commit. */
  commitEntriesMax: 512,
  /** Steps (inputs and the messages they cause within the log) applied in one commit; the rest is carried. */
  commitStepsMax: 4_096,
  /** Messages, timers, tasks and events that one handler call may cause. */
  effectsPerStepMax: 256,
  /** One encoded record. */
  recordBytesMax: 262_144,
  /** One message body, event or task. */
  bodyBytesMax: 262_144,
  /** Chain of messages that one input may cause (J8). */
  causalDepthMax: 64,
  /** Entries of one bundle. */
  bundleEntriesMax: 256,
  bundleBytesMax: 524_288,
  /** Inputs of one stream for one log that wait in memory; the reader pauses above it. */
  inputsQueuedMax: 20_000,
  /** Answers that one record remembers; the oldest that do not create go first, none younger than a day. */
  answersMax: 256,
  answerAgeMsMin: 86_400_000,
  /** Deferred replies that one record holds. */
  waitersMax: 32,
  timersPerRecordMax: 64,
  tasksPerRecordMax: 64,
  /** Clean records kept in memory per log. */
  recordsCachedMax: 20_000,
  /** The mark of a removed record is kept in the bucket so long, for those who watch it. */
  removedTtlSeconds: 3_600,
  /** Records changed but not yet projected, per log; above it the log waits for the projection. */
  recordsDirtyMax: 20_000,
  /** Events committed but not yet stored, per log, likewise. */
  eventsWaitingMax: 20_000,
  /** Records that one commit changes: a projection takes whole commits. */
  commitRecordsMax: 600,
  /** Events of one commit, likewise. */
  commitEventsMax: 600,
  /** Messages of one atomic batch: the server's limit is 1,000. */
  batchMessagesMax: 900,
  batchBytesMax: 8_388_608,
  /**
   * Rest between two projections of one log, so that batches are large and few: a millisecond for each message of the
   * last batch, within these bounds. Under load a record is written once for several changes.
   */
  projectionDelayMs: 80,
  projectionDelayMsMax: 250,
  /** A schedule due later than this may wait that long before it is stored: most are cancelled first. */
  scheduleDelayMs: 1_000,
  /** Tasks of one commit that travel in one message, and are worked on at once by one worker. */
  taskBundleMax: 32,
  taskBundleBytesMax: 262_144,
  appendTimeoutMs: 2_000,
  readTimeoutMs: 2_000,
  /** A read of a record waits so long for an owner: a log that changes hands has one again by then. */
  readWaitMs: 4_000,
  /** Rest after a request that got no answer: doubled up to the maximum, which a server that is back waits for. */
  retryDelayMs: 100,
  retryDelayMsMax: 400,
  /** The maximum for what is refused, as by a full store: it can be large and is sent in vain. */
  refusedDelayMsMax: 2_000,
  /** A lease is renewed this often; its worker is taken over after `leaseMs`. */
  leaseRenewMs: 400,
  leaseMs: 3_000,
  /** A worker without a connection is taken over after this already. */
  leaseSuspectMs: 1_500,
  /** An owner that got no ack for so long stops answering reads (J23). */
  ownerSilentMsMax: 1_200,
  /** Takeovers in a row without a commit after which inputs are applied one by one (J12). */
  crashLoopTakeoversMin: 3,
  /** So many inputs are applied one by one, then the log goes on as usual. */
  carefulCommitsMax: 2_000,
  /** An idle log records its positions this long after others moved on (J5). */
  idlePositionMs: 30_000,
  purgeEveryMs: 5_000,
  /** Both while the journal runs out of space. */
  upkeepShortMs: 1_000,
  journalPurgeEveryMs: 600_000,
  /** The journal keeps at least this much. */
  logAgeMsMin: 86_400_000,
  /**
   * Share of LOG's bytes above which the journal is purged at once, and above which its age does not count (J24). Both
   * lie below the 80 % at which commands are refused: above it nothing else would ever make room.
   */
  logPurgeAt: 0.7,
  logAgeWaivedAt: 0.75,
  /**
   * Share above which a log applies only what others have sent it in the journal, and above which it only writes down
   * what it has read: commits without which nothing can be purged (J24).
   */
  logDrainsOnlyAt: 0.9,
  logPositionsOnlyAt: 0.95,
  /** Entries of a list page before it is closed. */
  listPageEntriesMax: 16,
  /** Entries of a page that took over what stayed of older ones; with more the oldest page stays as it is. */
  listPageKeptMax: 512,
  /** Candidates that one list call looks at. */
  listCandidatesMax: 2_000,
  /** Above this age of the oldest unapplied input, as its owner says, new commands are refused. */
  backlogAgeMsMax: 2_000,
  /** The same for what a process has stored itself while the owner is at work: it can be seen at once. */
  inboxAgeMsMax: 500,
  /** Commands of one client process that wait for their answer. */
  callsInFlightMax: 8_192,
});

assert(LIMITS.commitBytesMax + LIMITS.recordBytesMax / 4 < LIMITS.messageBytesMax, "a commit fits a message");
assert(LIMITS.bundleBytesMax < LIMITS.commitBytesMax, "what a bundle brings fits a commit");
assert(LIMITS.leaseRenewMs * 3 < LIMITS.leaseMs, "three renewals may be lost before a lease runs out");
assert(LIMITS.leaseSuspectMs < LIMITS.leaseMs, "what is known of a worker makes its lease shorter");
assert(LIMITS.leaseMs < LIMITS.readWaitMs, "a read outlasts the change of an owner");
assert(LIMITS.ownerSilentMsMax < LIMITS.leaseSuspectMs, "an owner falls silent before it can be replaced");
