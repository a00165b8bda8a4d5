import type { X509Svid } from '../../lease/svid.ts';
import { SecretMessage } from '../secret-message.ts';
import type { Part } from '../wire-format.ts';
import { joined } from '../wire-format.ts';
import type { Resource } from './resource.ts';
import type { Holdable } from './secrets.ts';
import type { Subscription } from './subscription.ts';

/** A response that is to be sent. */
export interface Response {
  readonly message: Uint8Array | SecretMessage;
  /** The identities in it. */
  readonly svids: readonly X509Svid[];
  /** All that the client has once it has taken it. */
  readonly held: readonly X509Svid[];
}

/** One of the two ways in which xDS speaks on a stream: what the client says, and what it is to be told. */
export interface Protocol<Request> {
  readonly subscription: Subscription;
  /** True while a request is not answered yet. */
  readonly owing: boolean;
  /**
   * Takes a request.
   *
   * @throws MayflyError `INVALID_REQUEST`, `SECRET_NOT_AUTHORIZED`; the stream is to end with it
   */
  receive(request: Request): void;
  /**
   * What the client is to be told when this is what it may have; `undefined` when it knows all of it.
   *
   * @throws MayflyError `INVALID_REQUEST`, `SECRET_NOT_AUTHORIZED`; the stream is to end with it
   */
  next(from: Holdable): Response | undefined;
}

/**
 * A response of these parts, with these resources among them.
 *
 * @param all that the client has then
 */
export function responseOf(parts: readonly Part[], resources: readonly Resource[], all: readonly Resource[]): Response {
  const message = joined(...parts);
  const svids = svidsOf(resources);
  return { message: svids.length > 0 ? new SecretMessage(message) : message, svids, held: svidsOf(all) };
}

function svidsOf(resources: readonly Resource[]): readonly X509Svid[] {
  return resources.flatMap(({ svid }) => svid ?? []);
}
