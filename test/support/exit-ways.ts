// Watches itself, and leaves in the way that its argument names.
import { ExitWatch } from '../../agent/peer/exit-watch.ts';
import { openPidfd } from '../../agent/peer/system/pidfd.ts';

const watch = new ExitWatch();
watch.add(openPidfd(process.pid), () => undefined);
// The thread sits in its wait by then, or is just starting: both must do.
if (process.argv[3] === 'running') await new Promise((resolve) => setTimeout(resolve, 150));
process.stdout.write('leaving\n', () => leave());

function leave(): void {
  switch (process.argv[2] ?? '') {
    case 'nothing left to do':
      return;
    case 'close':
      return void watch.close();
    case 'process.exit':
      return process.exit(3);
    case 'exception':
      throw new Error('on purpose');
    case 'rejection':
      return void Promise.reject(new Error('on purpose'));
    case 'SIGTERM':
      return void process.kill(process.pid, 'SIGTERM');
    case 'abort':
      return process.abort();
    case 'without the exit event':
      return (process as unknown as { reallyExit(code: number): void }).reallyExit(4);
    default:
      throw new Error('no such way');
  }
}
