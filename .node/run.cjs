// `node .node/run.cjs file.ts …` runs a file under the Node that the project brings along, whatever Node runs npm.
//
// npm 11 links that Node to node_modules/.bin, so it is the `node` of every npm script and this only passes through.
// npm 10 and older remove the link again when they clean up the packages of the other platforms: then it is put back
// here, and this one run goes through a child process. Written for old Nodes: CommonJS, no types.
const { spawn } = require("node:child_process");
const { existsSync, symlinkSync } = require("node:fs");
const { delimiter, join, resolve } = require("node:path");
const { constants } = require("node:os");

const MAJOR_MIN = 24;
const MINOR_MIN = 12;

const [file = "", ...args] = process.argv.slice(2);
const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
if (major > MAJOR_MIN || (major === MAJOR_MIN && minor >= MINOR_MIN)) {
  process.argv = [process.argv[0], resolve(file), ...args];
  require("node:module").runMain();
} else {
  runElsewhere();
}

function runElsewhere() {
  const modules = join(__dirname, "../node_modules");
  const platform = `${process.platform === "win32" ? "win" : process.platform}-${process.arch}`;
  const exe = process.platform === "win32" ? "bin/node.exe" : "bin/node";
  const name = [`node-${platform}`, `node-bin-${platform}`].find((it) => existsSync(join(modules, it, exe)));
  if (name === undefined) {
    process.stderr.write(
      `tradewind needs Node ${MAJOR_MIN}.${MINOR_MIN} or newer, this is ${process.versions.node}: run npm ci, ` +
        `or install that Node if no package brings it to ${platform}\n`,
    );
    process.exit(69);
  }
  try {
    if (process.platform !== "win32") symlinkSync(`../${name}/bin/node`, join(modules, ".bin/node"));
  } catch {
    // It is there, or the folder is read-only: the child finds its Node by its PATH.
  }
  const PATH = `${join(modules, name, "bin")}${delimiter}${process.env.PATH}`;
  const child = spawn(join(modules, name, exe), [file, ...args], {
    stdio: "inherit",
    env: { ...process.env, PATH },
  });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  child.on("exit", (code, signal) => process.exit(code ?? 128 + constants.signals[signal]));
}
