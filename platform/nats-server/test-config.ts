/** What tests read from the environment to find a nats-server. */
export const testEnv: Readonly<Record<string, string | undefined>> = process.env;
