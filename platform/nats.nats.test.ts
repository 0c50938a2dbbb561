import { describe, expect, it, onTestFinished } from "vitest";
import { sleep, systemClock } from "./clock.ts";
import { createLogger, silentLogger } from "./log.ts";
import { checkServer, connectNats, NatsConnectError } from "./nats.ts";
import { freePorts } from "./nats-server/ports.ts";
import { testServer } from "./nats-server/testing.ts";
import { systemRandom } from "./random.ts";

async function server(options: Parameters<typeof testServer>[0] = {}) {
  const started = await testServer(options);
  onTestFinished(() => started.stop());
  return started;
}

const UNUSED = "nats://127.0.0.1:9";

describe("connectNats", () => {
  it("reconnects to a restarted server and logs both", async () => {
    const lines: string[] = [];
    const log = createLogger({ role: "test", write: (line) => lines.push(line) });
    const nats = await server();
    const nc = await connectNats({
      servers: `${UNUSED}, ${nats.url}`,
      name: "test",
      inboxPrefix: "_INBOX_t",
      log,
    });
    onTestFinished(() => nc.close());
    const back = new Promise<void>((resolve) => {
      void (async () => {
        for await (const status of nc.status()) if (status.type === "reconnect") resolve();
      })();
    });
    await nats.kill();
    await nats.restart();
    await back;
    await nc.flush();
    expect(lines.join("")).toContain("nats disconnected");
    expect(lines.join("")).toContain("nats reconnected");
  });

  it("waits for a server that is still starting", async () => {
    const nats = await server();
    await nats.kill();
    const connecting = connectNats({ servers: nats.url, name: "test", log: silentLogger });
    await nats.restart();
    await (await connecting).close();
  });

  it("gives up after its attempts, or when aborted, and says what to do", async () => {
    const options = { servers: UNUSED, name: "test", log: silentLogger };
    const error = await connectNats({ ...options, startAttemptsMax: 2 }).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(NatsConnectError);
    expect(error).toMatchObject({
      exitCode: 69,
      message: expect.stringContaining(`no nats-server at ${UNUSED}`),
    });
    await expect(connectNats({ ...options, signal: AbortSignal.abort() })).rejects.toThrow(
      "after 1 attempt(s)",
    );
  });

  it("takes user and password, or a token, from the URL", async () => {
    const users = await server({ extraConfig: 'authorization { user: "u", password: "p@ss" }' });
    const tokens = await server({ extraConfig: 'authorization { token: "secret" }' });
    for (const servers of [users.url.replace("//", "//u:p%40ss@"), tokens.url.replace("//", "//secret@")]) {
      await (await connectNats({ servers, name: "test", log: silentLogger })).close();
    }
  });

  it("does not wait when the server refuses, and keeps the password out of the error", async () => {
    const nats = await server({ extraConfig: 'authorization { user: "u", password: "right" }' });
    const servers = nats.url.replace("//", "//u:wrong@");
    const error = await connectNats({ servers, name: "test", log: silentLogger }).catch((e: unknown) => e);
    expect((error as Error).message).toContain("refused the connection");
    expect((error as Error).message).not.toContain("wrong");
  });
});

describe("checkServer", () => {
  it("returns version and API level", async () => {
    const nc = await connectNats({ servers: (await server()).url, name: "test", log: silentLogger });
    onTestFinished(() => nc.close());
    const facts = await checkServer(nc);
    expect(facts.apiLevel).toBeGreaterThanOrEqual(4);
    expect(facts.version).toMatch(/^2\.\d+\.\d+/);
  });

  it("says that JetStream is off for the account", async () => {
    const extraConfig = "accounts { A { users: [ { user: a, password: a } ] } }";
    const nats = await server({ extraConfig });
    const servers = nats.url.replace("//", "//a:a@");
    const nc = await connectNats({ servers, name: "test", log: silentLogger });
    onTestFinished(() => nc.close());
    await expect(checkServer(nc)).rejects.toThrow(/has no JetStream for this account.*sync_interval/);
  });

  it("waits for a cluster that is still electing its leader", async () => {
    const routePorts = await freePorts(3, () => systemRandom.float());
    const member = (port: number, index: number) =>
      server({ serverName: `n${index + 1}`, cluster: { name: "test", port, routePorts } });
    const [port = 0, ...others] = routePorts;
    const first = await member(port, 0);
    const nc = await connectNats({ servers: first.url, name: "test", log: silentLogger });
    onTestFinished(() => nc.close());
    const facts = checkServer(nc);
    facts.catch(() => undefined);
    // The client's own timeout is 5 s: the question was asked in vain once.
    await sleep(systemClock, 6_000);
    await Promise.all(others.map((each, index) => member(each, index + 1)));
    expect((await facts).apiLevel).toBeGreaterThanOrEqual(4);
  });
});
