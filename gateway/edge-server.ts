import { createServer as createHttp1Server, type Server as Http1Server } from "node:http";
import { createServer as createHttp2Server, type Http2Server, type ServerHttp2Session } from "node:http2";
import type { Socket } from "node:net";
import { type Clock, sleep } from "../platform/clock.ts";
import type { Logger } from "../platform/log.ts";
import type { NodeRequest, NodeResponse } from "./http.ts";
import type { GatewayLimits } from "./limits.ts";
import { listen } from "./listeners.ts";

export interface EdgeServerOptions {
  readonly host: string;
  /** 0 takes any free port. */
  readonly port: number;
  readonly handle: (request: NodeRequest, response: NodeResponse) => void;
  readonly clock: Clock;
  readonly log: Logger;
  readonly limits: GatewayLimits;
}

/** One cleartext port for HTTP/1.1 and HTTP/2 with prior knowledge. */
export interface EdgeServer {
  readonly port: number;
  /** Takes no more connections, tells HTTP/2 clients to go away, and closes what is idle. Streams go on. */
  stopAccepting(): void;
  /** Resolves when every connection is closed, at the latest after `deadlineMs`; then what is left is destroyed. */
  close(deadlineMs: number): Promise<void>;
}

/** First bytes of every HTTP/2 connection. */
const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");
const TIMEOUTS_CHECK_MS = 1_000;
const CLOSE_POLL_MS = 20;

/** Listens. A socket is given to the server of the version that its first bytes speak. */
export async function startEdgeServer(options: EdgeServerOptions): Promise<EdgeServer> {
  const { host, port, limits } = options;
  const sockets = new Set<Socket>();
  const silent = new Set<Socket>();
  const sessions = new Set<ServerHttp2Session>();
  let isStopping = false;
  const http1 = startHttp1(options, () => isStopping);
  const http2 = startHttp2(options, sessions);
  const onConnection = (socket: Socket) => {
    if (sockets.size >= limits.connectionsMax) return void socket.destroy();
    sockets.add(socket);
    silent.add(socket);
    socket.once("close", () => {
      sockets.delete(socket);
      silent.delete(socket);
    });
    sniff(socket, limits.headersTimeoutMs, (isHttp2) => {
      silent.delete(socket);
      (isHttp2 ? http2 : http1).emit("connection", socket);
    });
  };
  const listeners = await listen({ host, port, backlog: limits.connectionsWaitingMax, onConnection });
  const stopPings = pingSessions(sessions, options);

  const stopAccepting = () => {
    if (isStopping) return;
    isStopping = true;
    listeners.close();
    for (const session of sessions) session.close();
    http1.closeIdleConnections();
    // Clients open connections ahead of need: nothing is under way on those that have not said a word.
    for (const socket of silent) socket.destroy();
  };
  return {
    port: listeners.port,
    stopAccepting,
    close: async (deadlineMs) => {
      stopAccepting();
      const endMs = options.clock.monotonicMs() + deadlineMs;
      while (sockets.size > 0 && options.clock.monotonicMs() < endMs) {
        await sleep(options.clock, CLOSE_POLL_MS);
        http1.closeIdleConnections();
      }
      if (sockets.size > 0)
        options.log.warn({ connections: sockets.size }, "connections destroyed at the drain deadline");
      for (const socket of sockets) socket.destroy();
      stopPings();
      http1.close();
    },
  };
}

function startHttp1({ handle, limits }: EdgeServerOptions, isStopping: () => boolean): Http1Server {
  const server = createHttp1Server(
    {
      headersTimeout: limits.headersTimeoutMs,
      requestTimeout: limits.requestTimeoutMs,
      keepAliveTimeout: limits.keepAliveMs,
      maxHeaderSize: limits.headerBytesMax,
      connectionsCheckingInterval: TIMEOUTS_CHECK_MS,
    },
    (request, response) => {
      if (isStopping()) response.setHeader("connection", "close");
      handle(request, response);
    },
  );
  // A client that takes nothing keeps what waits for it in memory.
  server.setTimeout(limits.stalledMsMax);
  // Timeouts and closeIdleConnections work on tracked connections, and tracking starts with this event: without it a
  // client that never finishes its headers holds its socket for ever.
  server.emit("listening");
  return server;
}

function startHttp2(
  { handle, limits, log }: EdgeServerOptions,
  sessions: Set<ServerHttp2Session>,
): Http2Server {
  const server = createHttp2Server(
    {
      settings: {
        maxConcurrentStreams: limits.streamsPerConnectionMax,
        maxHeaderListSize: limits.headerBytesMax,
      },
    },
    handle,
  );
  server.on("session", (session) => {
    sessions.add(session);
    session.once("close", () => sessions.delete(session));
  });
  server.on("sessionError", (err) => log.debug({ err }, "http/2 connection failed"));
  return server;
}

function sniff(socket: Socket, timeoutMs: number, choose: (isHttp2: boolean) => void): void {
  let seen = Buffer.alloc(0);
  const done = () => {
    socket.setTimeout(0);
    socket.off("readable", onReadable);
    socket.off("timeout", onTimeout);
    socket.off("error", onError);
  };
  const onTimeout = () => socket.destroy();
  const onError = () => socket.destroy();
  const onReadable = () => {
    const chunk = socket.read() as Buffer | null;
    if (chunk === null) return;
    seen = Buffer.concat([seen, chunk]);
    const compared = Math.min(seen.length, PREFACE.length);
    const isPrefix = seen.subarray(0, compared).equals(PREFACE.subarray(0, compared));
    if (isPrefix && compared < PREFACE.length) return;
    done();
    socket.unshift(seen);
    choose(isPrefix);
  };
  socket.setTimeout(timeoutMs);
  socket.on("readable", onReadable);
  socket.once("timeout", onTimeout);
  socket.once("error", onError);
}

/** Node's HTTP/2 server never pings: without this a peer that lost its network keeps its streams open for hours. */
function pingSessions(sessions: Set<ServerHttp2Session>, { clock, limits }: EdgeServerOptions): () => void {
  const unanswered = new WeakSet<ServerHttp2Session>();
  const round = () => {
    for (const session of sessions) {
      if (session.closed || session.destroyed) continue;
      if (unanswered.has(session)) {
        session.destroy();
        continue;
      }
      unanswered.add(session);
      session.ping(() => unanswered.delete(session));
    }
    timer = clock.setTimer(round, limits.pingIntervalMs);
  };
  let timer = clock.setTimer(round, limits.pingIntervalMs);
  return () => timer.cancel();
}
