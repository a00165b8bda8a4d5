import type { Log, LogFields } from '../../agent/kernel/log.ts';

/** One line of a {@link MemoryLog}. */
export interface LogLine {
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  readonly event: string;
  readonly message: string;
  readonly fields: LogFields;
}

/** A log that a test reads. */
export class MemoryLog implements Log {
  readonly lines: LogLine[] = [];

  debug(event: string, message: string, fields: LogFields = {}): void {
    this.lines.push({ level: 'debug', event, message, fields });
  }

  info(event: string, message: string, fields: LogFields = {}): void {
    this.lines.push({ level: 'info', event, message, fields });
  }

  warn(event: string, message: string, fields: LogFields = {}): void {
    this.lines.push({ level: 'warn', event, message, fields });
  }

  error(event: string, message: string, fields: LogFields = {}): void {
    this.lines.push({ level: 'error', event, message, fields });
  }

  /** The events that were logged, in order. */
  get events(): string[] {
    return this.lines.map(({ event }) => event);
  }
}
