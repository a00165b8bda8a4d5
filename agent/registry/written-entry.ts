import type { Entry, EntryTerms } from './entry.ts';
import type { Renderer } from './renderer.ts';

/** An entry whose identity, or whose DNS names, each process gives values to. Frozen. */
export interface EntryTemplate extends EntryTerms {
  /** Makes the entries of it. */
  readonly renderer: Renderer;
}

/** An entry as it stands in a file. */
export type WrittenEntry = Entry | EntryTemplate;

export function isTemplate(written: WrittenEntry): written is EntryTemplate {
  return 'renderer' in written;
}

/** The identity and the DNS names as they are written, with placeholders where there are any. */
export function identityOf(written: WrittenEntry): { readonly spiffeId: string; readonly dnsNames: readonly string[] } {
  return isTemplate(written) ? written.renderer : written;
}

/** The entry that gives just this identity; `undefined` when none of `written` does. See {@link Renderer.named}. */
export function entryNamed(written: WrittenEntry, spiffeId: string): Entry | undefined {
  if (isTemplate(written)) return written.renderer.named(spiffeId);
  return written.spiffeId === spiffeId ? written : undefined;
}

/**
 * Whether an entry was made of this, or of what said the same. Then it is the process that has changed where it is not entitled any
 * more, as one whose template has another value for it now.
 */
export function isOf(entry: Entry, written: WrittenEntry): boolean {
  const named = entryNamed(written, entry.spiffeId);
  if (named === undefined) return false;
  const asked = isTemplate(written) ? entry.selectors.slice(0, written.selectors.length) : entry.selectors;
  return (
    asked.join('\n') === written.selectors.join('\n') && named.selectors.every((one) => entry.selectors.includes(one))
  );
}
