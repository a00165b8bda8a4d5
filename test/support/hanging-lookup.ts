// Asks for a name in a thread that will not come back, and leaves.
import koffi from 'koffi';
import { Names } from '../../agent/peer/system/names.ts';

const sleep = koffi.load(null).func('uint sleep(uint)');
const names = new Names(() => new Promise(() => sleep.async(600, () => undefined)));
names.lookup('user', 1000, new AbortController().signal).catch(() => undefined);
setTimeout(() => {
  process.stdout.write('leaving\n', () => process.exit(5));
}, 50);
