/** Brings the settings tables of the documents up to date with the code. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { allDocuments, allSettings, withSettings } from "../tidy/documents.ts";
import { root } from "./process.ts";

const settings = await allSettings();
for (const { path, text } of allDocuments()) {
  const fresh = withSettings(text, settings);
  if (fresh === text) continue;
  writeFileSync(join(root, path), fresh);
  console.log(`${path} written`);
}
