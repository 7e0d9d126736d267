#!/usr/bin/env node
// Plain JavaScript, so that a Node too old for the rest can say so instead of failing on a syntax it does not know.
const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 24 || (major === 24 && minor < 12)) {
  process.stderr.write(
    `mandated needs Node 24.12 or newer, and this is ${process.version}.\n` +
      'From a checkout `npm ci` brings it as the package `node`, whose install script fetches the binary. If npm was\n' +
      'told to ignore scripts (`ignore-scripts`, `--ignore-scripts`), run `npm rebuild node --ignore-scripts=false`.\n',
  );
  process.exit(2);
}
if (process.argv[2] !== '--runtime') {
  const { main } = await import('./cli.ts');
  process.exitCode = await main(process.argv.slice(2));
}
