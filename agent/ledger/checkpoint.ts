import { CanonicalText } from './canonical-json.ts';
import type { Body } from './chain.ts';
import type { LedgerKey } from './ledger-key.ts';
import type { Checkpoint, SegmentAnchor } from './record.ts';
import type { LedgerState } from './state.ts';
import { stateText } from './state-json.ts';

/** A checkpoint of the state as it is now, for the place in the chain that it will have. */
export function checkpointOf(state: LedgerState, time: number, key: LedgerKey): Body {
  const type: Checkpoint['type'] = 'checkpoint';
  // Written out now, because the state goes on.
  const text = new CanonicalText(stateText(state, time));
  return (link) => key.signed({ type, state: text }, link);
}

/** What a file of uses begins with. */
export function anchorOf(key: LedgerKey): Body {
  const type: SegmentAnchor['type'] = 'segment';
  return (link) => key.signed({ type }, link);
}
