import { destination, pino, stdSerializers } from 'pino';
import type { Log } from './kernel/log.ts';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/** What is kept while lines cannot be written, until they can. */
const MOST_WAITING_BYTES = 256 * 1024;

/**
 * The one logger: a JSON line an event on stderr, with `event` first. Where they cannot be written, since the disk is full or whoever
 * reads them is gone, lines are lost and the agent is not.
 */
export class PinoLog implements Log {
  readonly #pino;

  /** @param fd where lines go; written synchronously, so that the last one before a crash is there */
  constructor(level: LogLevel, fd = 2) {
    const lines = destination({ fd, sync: true, maxLength: MOST_WAITING_BYTES });
    lines.on('error', () => {});
    this.#pino = pino(
      {
        level,
        base: null,
        formatters: { level: (label) => ({ level: label }) },
        timestamp: () => `,"time":"${new Date().toISOString()}"`,
        serializers: { error: stdSerializers.errWithCause },
      },
      lines,
    );
  }

  /** Logs from `level` on. */
  setLevel(level: LogLevel): void {
    this.#pino.level = level;
  }

  debug: Log['debug'] = (event, message, fields) => this.#pino.debug({ event, ...fields }, message);
  info: Log['info'] = (event, message, fields) => this.#pino.info({ event, ...fields }, message);
  warn: Log['warn'] = (event, message, fields) => this.#pino.warn({ event, ...fields }, message);
  error: Log['error'] = (event, message, fields) => this.#pino.error({ event, ...fields }, message);
}
