import type { Alarm, Clock } from '../kernel/clock.ts';
import { messageOf } from '../kernel/errors.ts';
import type { Log } from '../kernel/log.ts';
import { sendDatagram } from '../peer/system/datagram.ts';

/** What a {@link Supervisor} is made from. */
export interface SupervisorParts {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * The service manager that has started the agent, where it wants to hear of it (`sd_notify(3)`): that the agent serves, reads its files
 * again, stops. Its watchdog hears from the agent for as long as the main thread gets round to it. That nothing can be said changes
 * nothing for the agent.
 */
export class Supervisor {
  readonly #socket: string | undefined;
  /** How often it is told that the agent lives, in milliseconds; `undefined` where it does not ask. */
  readonly #interval: number | undefined;
  readonly #clock: Clock;
  readonly #log: Log;
  #alarm: Alarm | undefined;
  #failed = false;

  constructor({ env, clock, log }: SupervisorParts) {
    const socket = env['NOTIFY_SOCKET'];
    // What is no path and no abstract name is `vsock:`, of a machine that tells its hypervisor.
    this.#socket = socket !== undefined && /^[/@]./.test(socket) ? socket : undefined;
    this.#interval = watchdogInterval(env);
    this.#clock = clock;
    this.#log = log;
  }

  /** The sockets are there, or the files have been read again. @param status one line for `systemctl status` */
  ready(status: string): void {
    this.#say('READY=1', `STATUS=${status}`);
    if (this.#interval !== undefined && this.#alarm === undefined) this.#beat(this.#interval);
  }

  /** Files are being read again, which ends with {@link ready}. */
  reloading(): void {
    // Type=notify-reload compares it with the time at which it asked; Node's high-resolution clock is CLOCK_MONOTONIC.
    this.#say('RELOADING=1', `MONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`);
  }

  stopping(): void {
    this.#say('STOPPING=1', 'STATUS=stopping');
  }

  /** Says nothing more by itself. */
  close(): void {
    this.#alarm?.cancel();
  }

  #beat(interval: number): void {
    this.#say('WATCHDOG=1');
    this.#alarm = this.#clock.after(interval, () => this.#beat(interval));
  }

  #say(...lines: readonly string[]): void {
    if (this.#socket === undefined) return;
    try {
      sendDatagram(this.#socket, lines.join('\n'));
      this.#failed = false;
    } catch (error) {
      if (!this.#failed)
        this.#log.warn('supervisor.unreachable', `the service manager cannot be told: ${messageOf(error)}`);
      this.#failed = true;
    }
  }
}

/** Half of what it waits for, as sd_watchdog_enabled(3) has it; it may be meant for the process that started this one. */
function watchdogInterval(env: SupervisorParts['env']): number | undefined {
  const pid = env['WATCHDOG_PID'];
  const microseconds = Number(env['WATCHDOG_USEC'] ?? Number.NaN);
  if ((pid !== undefined && pid !== String(process.pid)) || !(microseconds > 0)) return undefined;
  return microseconds / 2000;
}
