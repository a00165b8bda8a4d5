import type { PublishedLists } from '../revocation/publisher.ts';

type Part = Uint8Array | PublishedLists;

/** Tells whether parts differ from those of the call before: clients reload whatever they get, so they get what has changed. */
export function changes(): (...parts: readonly Part[]) => boolean {
  let told: readonly Part[] | undefined;
  return (...parts) => {
    const same = told !== undefined && parts.every((part, index) => isSame(part, told?.[index]));
    told = parts;
    return !same;
  };
}

function isSame(part: Part, other: Part | undefined): boolean {
  if (part === other) return true;
  return part instanceof Uint8Array && other instanceof Uint8Array && Buffer.compare(part, other) === 0;
}
