// Says how it notices changes of processes, once the process connector has answered or not.
import { SystemClock } from '../../agent/kernel/clock.ts';
import { ExitWatch } from '../../agent/peer/exit-watch.ts';
import { Instances } from '../../agent/peer/process.ts';

const watch = new ExitWatch();
const instances = new Instances(watch, new SystemClock());
while (watch.events.reason.endsWith('yet')) {
  await new Promise((resolve) => {
    setTimeout(resolve, 1);
  });
}
process.stdout.write(`${JSON.stringify(instances.watching())}\n`);
instances.close();
await watch.close();
