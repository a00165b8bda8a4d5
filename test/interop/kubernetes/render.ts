import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { commandOf } from '../equipment.ts';
import { plainManifests } from './helm.ts';
import { helmProgram } from './toolchain.ts';

// `npm run manifests`
const [helm] = commandOf(await helmProgram());
for (const [file, manifests] of Object.entries(await plainManifests(helm))) {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, manifests);
  console.log(`wrote ${file}`);
}
