import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { commandOf } from '../equipment.ts';
import { MANIFESTS, plainManifests } from './helm.ts';
import { helmProgram } from './toolchain.ts';

// `npm run manifests`
const [helm] = commandOf(await helmProgram());
mkdirSync(dirname(MANIFESTS), { recursive: true });
writeFileSync(MANIFESTS, await plainManifests(helm));
console.log(`wrote ${MANIFESTS}`);
