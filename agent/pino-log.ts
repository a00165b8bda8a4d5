import { destination, pino, stdSerializers } from 'pino';
import type { Log } from './kernel/log.ts';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/** The one logger: a JSON line an event on stderr, with `event` first. */
export class PinoLog implements Log {
  readonly #pino;

  /** @param fd where lines go; written synchronously, so that the last one before a crash is there */
  constructor(level: LogLevel, fd = 2) {
    this.#pino = pino(
      {
        level,
        base: null,
        formatters: { level: (label) => ({ level: label }) },
        timestamp: () => `,"time":"${new Date().toISOString()}"`,
        serializers: { error: stdSerializers.errWithCause },
      },
      destination({ fd, sync: true }),
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
