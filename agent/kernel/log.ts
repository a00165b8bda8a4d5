/** What may stand beside an event: plain values. Keys, tokens and request bodies have no place here. */
export type LogFields = Readonly<Record<string, string | number | boolean | readonly string[] | Error | undefined>>;

/**
 * Structured logging. `event` is a stable name in `stage.what` form (`peer.refused`) that people alert on; `message` is for reading.
 */
export interface Log {
  debug(event: string, message: string, fields?: LogFields): void;
  info(event: string, message: string, fields?: LogFields): void;
  warn(event: string, message: string, fields?: LogFields): void;
  error(event: string, message: string, fields?: LogFields): void;
}
