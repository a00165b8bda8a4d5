import { basename } from 'node:path';
import { afterAll } from 'vitest';
import { evidenceOf, writeEvidence } from './run.ts';

// Runs in every file of the suite; of a file that is skipped as a whole it leaves nothing, which is as much as was seen.
// oxlint-disable-next-line no-empty-pattern -- Vitest reads the names of fixtures off the pattern
afterAll(({}, { file }) => writeEvidence(basename(file.filepath), evidenceOf(file.tasks)));
