import { readdirSync, readFileSync } from 'node:fs';
import { performance } from 'node:perf_hooks';
import { counter, gauge, group, samplesBy, seconds } from './family.ts';

/** What the agent's own process takes. The names in front are those that every program has which Prometheus watches. */
export const processFigures = group(
  'The process',
  {
    process_cpu_seconds_total: counter('Processor time, of all threads.'),
    process_resident_memory_bytes: gauge('Resident memory.'),
    process_open_fds: gauge('Open descriptors.'),
    process_max_fds: gauge('How many there may be: LimitNOFILE.'),
    process_start_time_seconds: gauge('When the process started.'),
    mayfly_heap_used_bytes: gauge('What of the memory is JavaScript objects.'),
    mayfly_event_loop_seconds_total: counter(
      'Time in which the main thread worked (active) or waited (idle).',
      'state',
    ),
  },
  () => {
    const { heapUsed, rss } = process.memoryUsage();
    const { system, user } = process.cpuUsage();
    const { active, idle } = performance.eventLoopUtilization();
    return {
      process_cpu_seconds_total: (user + system) / 1e6,
      process_resident_memory_bytes: rss,
      process_open_fds: readdirSync('/proc/self/fd').length,
      process_max_fds: maxDescriptors(),
      process_start_time_seconds: seconds(performance.timeOrigin),
      mayfly_heap_used_bytes: heapUsed,
      mayfly_event_loop_seconds_total: samplesBy('state', [
        ['active', seconds(active)],
        ['idle', seconds(idle)],
      ]),
    };
  },
);

/** The soft limit; `undefined` when there is none. */
function maxDescriptors(): number | undefined {
  const [, soft] = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8')) ?? [];
  return soft === undefined ? undefined : Number(soft);
}
