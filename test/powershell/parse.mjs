// Parses PowerShell files without PowerShell and prints FILE:LINE:COLUMN for everything the grammar does not take.
// Usage: npm ci && node parse.mjs FILE...   Exit status: 0 all parsed, 1 errors found, 2 usage.
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { Language, Parser } from 'web-tree-sitter';

const files = process.argv.slice(2);
if (files.length === 0) {
  console.error('usage: node parse.mjs FILE...');
  process.exit(2);
}
const require = createRequire(import.meta.url);
await Parser.init();
const language = await Language.load(require.resolve('tree-sitter-powershell/tree-sitter-powershell.wasm'));
const parser = new Parser();
parser.setLanguage(language);

let bad = 0;
for (const file of files) {
  const text = await readFile(file, 'utf8');
  const tree = parser.parse(text);
  const walk = (node) => {
    if (node.isError || node.isMissing) {
      bad++;
      const what = node.isMissing ? `missing ${node.type}` : 'not understood';
      const start = node.startPosition;
      console.log(`${file}:${start.row + 1}:${start.column + 1}: ${what}: ${node.text.split('\n')[0].slice(0, 80)}`);
      return;
    }
    if (node.hasError) for (const child of node.children) walk(child);
  };
  walk(tree.rootNode);
  if (tree.rootNode.hasError && bad === 0) bad++;
  if (!tree.rootNode.hasError) console.log(`${file}: parsed`);
}
process.exit(bad === 0 ? 0 : 1);
