/**
 * `npm run build`: the program as `dist/mayfly.mjs`, with its native part for this machine beside it.
 *
 *     node --max-semi-space-size=2 dist/mayfly.mjs version
 */
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { bundle } from './bundle.ts';
import { installedNative } from './native.ts';
import { originOf } from './origin.ts';

const ROOT = join(import.meta.dirname, '..', '..');

const { values } = parseArgs({ options: { to: { type: 'string', default: join(ROOT, 'dist') } } });
const { code } = await bundle(ROOT, originOf(ROOT));
mkdirSync(values.to, { recursive: true });
writeFileSync(join(values.to, 'mayfly.mjs'), code);
copyFileSync(installedNative(ROOT), join(values.to, 'koffi.node'));
console.log(join(values.to, 'mayfly.mjs'));
