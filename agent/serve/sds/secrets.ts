import { idOfTrustDomain } from '../../kernel/spiffe-id.ts';
import type { X509Svid } from '../../lease/svid.ts';
import type { BundleUpdate } from '../../lease/updates.ts';
import type { PublishedLists } from '../../revocation/publisher.ts';
import { certificateSecret } from './certificate-secret.ts';
import { bundleOfNobody } from './nobody.ts';
import type { Resource } from './resource.ts';
import type { Asked } from './resource-name.ts';
import type { Validator } from './validation-context.ts';
import { validationContext, validationSecret } from './validation-context.ts';

/** What a caller may have at a moment. */
export interface Holdable {
  /** Its identities, the first one first; empty where it has asked for none. */
  readonly svids: readonly X509Svid[];
  /** `undefined` where it has asked for none. */
  readonly bundles: BundleUpdate | undefined;
  /** Of the CAs of the own trust domain. */
  readonly lists: PublishedLists;
}

/**
 * The secret that a name asks for, or `undefined` when the caller may not have it.
 *
 * @throws MayflyError `INVALID_REQUEST` when it cannot be written as asked
 */
export function secretFor(
  asked: Asked,
  { bundles, lists, svids }: Holdable,
  validator: Validator,
): Resource | undefined {
  if (asked.kind === 'svid') {
    const svid = asked.id === undefined ? svids[0] : svids.find(({ spiffeId }) => spiffeId === asked.id);
    return svid && certificateSecret(asked.name, svid);
  }
  if (bundles === undefined) return undefined;
  const domain = asked.kind === 'bundle' ? (asked.trustDomain ?? bundles.own.trustDomain) : undefined;
  return validationSecret(asked.name, { bundles, lists }, domain, validator);
}

/**
 * What takes the place of a secret that a proxy has had and may have no longer: a bundle that vouches for nobody. There is nothing of
 * the kind for a certificate, which the lists and its expiry end.
 */
export function secretInPlaceOf(asked: Asked, validator: Validator): Resource | undefined {
  if (asked.kind !== 'bundle' || asked.trustDomain === undefined) return undefined;
  return validationContext(asked.name, [{ bundle: bundleOfNobody(asked.trustDomain) }], validator);
}

/** Everything that the caller may have, under the name that each has by itself. */
export function allSecrets(from: Holdable, validator: Validator): readonly Resource[] {
  const bundles = from.bundles === undefined ? [] : [from.bundles.own, ...from.bundles.federated];
  const ids = new Set(from.svids.map(({ spiffeId }) => spiffeId));
  const asked: readonly Asked[] = [
    ...bundles.map(({ trustDomain }) => ({ name: idOfTrustDomain(trustDomain), kind: 'bundle', trustDomain }) as const),
    ...Array.from(ids, (id) => ({ name: id, kind: 'svid', id }) as const),
  ];
  return asked.flatMap((each) => secretFor(each, from, validator) ?? []);
}
