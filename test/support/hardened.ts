// Hardens itself, and waits.
import { forbidDumps } from '../../agent/peer/system/hardening.ts';

forbidDumps();
process.stdout.write('hardened\n');
process.stdin.on('end', () => process.exit(0)).resume();
