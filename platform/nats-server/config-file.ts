/** A member of a cluster on this machine. */
export interface ClusterOptions {
  readonly name: string;
  /** Port for the other servers. */
  readonly port: number;
  /** Ports of all members, this one's may be among them. */
  readonly routePorts: readonly number[];
}

export interface ServerConfig {
  readonly serverName: string;
  readonly dataDir: string;
  readonly portsDir: string;
  readonly logFile: string;
  /** -1 takes any free port. */
  readonly port: number;
  readonly monitorPort: number;
  /** `always` syncs before every ack; a Go duration such as `2m` loses that much on a power cut. */
  readonly syncInterval: string;
  /** Undefined lets the server take three quarters of the free disk. */
  readonly maxFileStoreBytes?: number | undefined;
  readonly cluster?: ClusterOptions | undefined;
  /** More lines of nats-server configuration, for users and permissions. */
  readonly extraConfig?: string | undefined;
}

const LOG_BYTES_MAX = 16 * 2 ** 20;
const LOG_FILES_MAX = 3;

/** The configuration file of one server: loopback only, JetStream on. */
export function renderServerConfig(config: ServerConfig): string {
  const { cluster, maxFileStoreBytes, extraConfig } = config;
  const text = (value: string) => JSON.stringify(value);
  const lines = [
    "# Written at every start of the embedded nats-server; changes are lost.",
    `server_name: ${text(config.serverName)}`,
    `listen: "127.0.0.1:${config.port}"`,
    `http: "127.0.0.1:${config.monitorPort}"`,
    `ports_file_dir: ${text(config.portsDir)}`,
    `log_file: ${text(config.logFile)}`,
    `logfile_size_limit: ${LOG_BYTES_MAX}`,
    `logfile_max_num: ${LOG_FILES_MAX}`,
    "jetstream {",
    `  store_dir: ${text(config.dataDir)}`,
    `  sync_interval: ${text(config.syncInterval)}`,
    ...(maxFileStoreBytes === undefined ? [] : [`  max_file_store: ${maxFileStoreBytes}`]),
    "}",
  ];
  if (cluster !== undefined) {
    lines.push(
      "cluster {",
      `  name: ${text(cluster.name)}`,
      `  listen: "127.0.0.1:${cluster.port}"`,
      "  routes: [",
    );
    for (const port of cluster.routePorts) lines.push(`    "nats://127.0.0.1:${port}"`);
    lines.push("  ]", "}");
  }
  if (extraConfig !== undefined) lines.push(extraConfig);
  return `${lines.join("\n")}\n`;
}
