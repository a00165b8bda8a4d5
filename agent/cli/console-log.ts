import type { Writable } from 'node:stream';
import type { Log, LogFields } from '../kernel/log.ts';
import type { LogLevel } from './daemon.ts';

const RANK: Readonly<Record<LogLevel, number>> = { debug: 0, info: 1, warn: 2, error: 3 };

/** The log for a person who watches: a time and a sentence a line. What programs read is in `PinoLog`'s lines. */
export class ConsoleLog implements Log {
  readonly #to: Writable;
  #least = RANK.info;

  constructor(to: Writable) {
    this.#to = to;
  }

  setLevel(level: LogLevel): void {
    this.#least = RANK[level];
  }

  debug: Log['debug'] = (_event, message) => this.#say('debug', message);
  info: Log['info'] = (_event, message, fields) => this.#say('info', message, fields);
  warn: Log['warn'] = (_event, message, fields) => this.#say('warn', message, fields);
  error: Log['error'] = (_event, message, fields) => this.#say('error', message, fields);

  #say(level: LogLevel, message: string, fields: LogFields = {}): void {
    if (RANK[level] < this.#least) return;
    const time = new Date().toTimeString().slice(0, 8);
    const mark = level === 'info' || level === 'debug' ? '' : `${level}: `;
    this.#to.write(`${time}  ${mark}${message}\n`);
    if (fields['error'] instanceof Error) this.#to.write(`${fields['error'].stack ?? ''}\n`);
  }
}
