import { expect, inject, it } from 'vitest';
import { equipped, ROOT } from '../equipment.ts';
import { Cluster } from './cluster.ts';
import { NODE_LOGS, NODE_PROGRAMS } from './toolchain.ts';

equipped('a node', [ROOT, inject('kubernetes').node], () => {
  it('comes up, and runs a pod', async () => {
    await using cluster = await Cluster.start(NODE_PROGRAMS, NODE_LOGS, [NODE_PROGRAMS.workloadImage]);
    expect(await cluster.kubectl.run('get', 'nodes')).toContain('v1.34.0');
  });
});
