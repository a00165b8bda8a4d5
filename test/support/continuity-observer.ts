// Looks at a process of root without the right to.
import { SystemClock } from '../../agent/kernel/clock.ts';
import { Continuity } from '../../agent/peer/continuity.ts';
import { openPidfd } from '../../agent/peer/system/pidfd.ts';

const pid = Number(process.argv[2]);
const continuity = new Continuity(pid, openPidfd(pid), { uid: 0, gid: 0 }, new SystemClock());
const { noticesExec, noticesNamespaces } = continuity;
process.stdout.write(
  `notices exec: ${noticesExec}, namespaces: ${noticesNamespaces}, standing: ${continuity.standing()}\n`,
);
