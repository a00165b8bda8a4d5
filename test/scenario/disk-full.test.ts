import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Daemon, mayfly } from '../support/daemon.ts';
import { Home } from '../support/home.ts';
import { eventually } from '../support/json-lines.ts';
import { isRoot } from '../support/processes.ts';
import { getPage, Scraped } from '../support/scrape.ts';
import { WorkloadClient } from '../support/workload-client.ts';

const home = new Home(undefined, 'ledger: { segment_size: 256KiB, max_size: 1MiB, reserve: 256KiB }');
const pages = home.path('metrics.sock');
const filler = join(home.dataDir, 'filler');
let mounted = false;

beforeAll(() => {
  mkdirSync(home.dataDir, { mode: 0o700 });
  if (!isRoot) return;
  const options = 'size=2m,mode=0700';
  mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', home.dataDir]).status === 0;
});

afterAll(() => {
  if (mounted) spawnSync('umount', ['-l', home.dataDir]);
  home.remove();
});

/** Takes all the room that there is. */
function fill(): void {
  writeFileSync(filler, '');
  for (const size of [65_536, 4096]) {
    const block = Buffer.alloc(size, 1);
    try {
      for (;;) writeFileSync(filler, block, { flag: 'a' });
    } catch (error) {
      expect(error).toMatchObject({ code: 'ENOSPC' });
    }
  }
}

test.skipIf(!isRoot)(
  'an agent whose disk is full issues nothing, serves what it has, revokes who dies, and recovers by itself (needs root)',
  async () => {
    expect(mounted).toBe(true);
    await using daemon = await Daemon.start(home, { args: ['--set', `metrics.listen=${pages}`] });
    await using watcher = new WorkloadClient(home.socket);
    await using served = new WorkloadClient(home.socket);
    await using dying = new WorkloadClient(home.socket);
    await watcher.tell('bundles', 'bundles');
    await served.x509();
    const { serial } = await dying.x509();

    fill();
    await using refused = new WorkloadClient(home.socket);
    expect(await refused.tell('x509', 'x509', 'end')).toMatchObject({ code: 'UNAVAILABLE' });
    expect(await refused.tell('jwt audience', 'jwt', 'refused')).toMatchObject({
      code: 'UNAVAILABLE',
      details: 'the agent has no room to record what it issues',
    });
    expect(await daemon.healthy('')).toBe(false);
    expect((await daemon.status()).warnings.join('\n')).toContain('cannot be recorded');
    expect(await getPage(pages, '/readyz')).toMatchObject({
      status: 503,
      body: expect.stringMatching(/^not ready:\nnothing is issued, since it cannot be recorded: .+\n$/),
    });
    // To be started anew would not help it.
    expect(await getPage(pages, '/healthz')).toMatchObject({ status: 200 });
    const full = await Scraped.of(pages);
    expect(full.value('mayfly_ready')).toBe(0);
    expect(full.value('mayfly_ledger_writable')).toBe(0);
    expect(full.value('mayfly_ledger_outage_start_timestamp_seconds')).toBeCloseTo(Date.now() / 1000, -2);
    expect(full.value('mayfly_data_dir_size_bytes')).toBe(2 << 20);
    // The reserve was given back, for what has to be recorded of those who die.
    expect(full.value('mayfly_data_dir_available_bytes')).toBeLessThanOrEqual(256 << 10);
    expect(full.value('mayfly_svids_failed_total', { entry: 'own', kind: 'x509', code: 'DISK_FULL' })).toBeGreaterThan(
      0,
    );
    expect(served.said.all.map(({ event }) => event)).toEqual(['x509']);

    dying.kill();
    await watcher.seesRevoked(serial);

    rmSync(filler);
    await daemon.logged('ledger.recovered');
    await eventually('it serves again', async () => ((await daemon.healthy('')) ? true : undefined));
    expect(await getPage(pages, '/readyz')).toMatchObject({ status: 200, body: 'ready\n' });
    const mended = await Scraped.of(pages);
    expect(mended.value('mayfly_ledger_writable')).toBe(1);
    expect(mended.value('mayfly_ledger_outage_start_timestamp_seconds')).toBeUndefined();
    await refused.x509('again');
    // What ended while there was no room is in the record all the same.
    const { stdout } = await mayfly(['audit', 'trace', serial, '--config', home.config]);
    expect(stdout).toContain('cessationOfOperation');
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    expect(await mayfly(['audit', 'verify', '--config', home.config])).toMatchObject({ code: 0 });
  },
);
