import type { Log, LogFields } from '../../../agent/kernel/log.ts';

export const silentLog: Log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

export interface LogLine {
  readonly level: string;
  readonly event: string;
  readonly message: string;
  readonly fields: LogFields | undefined;
}

/** A log that keeps its lines. */
export function keptLog(): Log & { readonly lines: readonly LogLine[] } {
  const lines: LogLine[] = [];
  const keep = (level: string) => (event: string, message: string, fields?: LogFields) =>
    void lines.push({ level, event, message, fields });
  return { lines, debug: keep('debug'), info: keep('info'), warn: keep('warn'), error: keep('error') };
}
