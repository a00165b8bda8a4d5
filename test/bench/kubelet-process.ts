// A kubelet that is none, in a process of its own: what it costs is not the agent's. Lists as many pods as it is told to, says as a line of
// JSON how it is to be asked, and ends with its input.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TestKubelet } from '../support/kubelet.ts';
import { benchPods } from './pods.ts';

const folder = mkdtempSync(join(tmpdir(), 'mayfly-bench-'));
const kubelet = await TestKubelet.start({ folder });
kubelet.list(...benchPods(Number(process.argv[2])));
process.stdout.write(`${JSON.stringify(kubelet.options)}\n`);
process.stdin.resume();
process.stdin.on('end', () => {
  rmSync(folder, { recursive: true });
  process.exit(0);
});
