import { randomBytes } from 'node:crypto';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { create, fromBinary } from '@bufbuild/protobuf';
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  DeltaDiscoveryRequestSchema,
  DeltaDiscoveryResponseSchema,
  DiscoveryRequestSchema,
  DiscoveryResponseSchema,
} from '../../../../agent/gen/envoy/service/discovery/v3/discovery_pb.js';
import { Secret } from '../../../../agent/kernel/secret.ts';
import { parseSpiffeId } from '../../../../agent/kernel/spiffe-id.ts';
import type { X509Svid } from '../../../../agent/lease/svid.ts';
import { Acknowledgements } from '../../../../agent/serve/sds/acknowledgements.ts';
import { Delta } from '../../../../agent/serve/sds/delta.ts';
import type { Protocol, Response } from '../../../../agent/serve/sds/protocol.ts';
import { Proxy } from '../../../../agent/serve/sds/proxy.ts';
import type { Holdable } from '../../../../agent/serve/sds/secrets.ts';
import { secretFor } from '../../../../agent/serve/sds/secrets.ts';
import { StateOfTheWorld } from '../../../../agent/serve/sds/state-of-the-world.ts';
import { livingInstance } from '../../../support/instance.ts';
import { silent } from '../../../support/lease-world.ts';
import { ManualClock } from '../../../support/manual-clock.ts';
import { ownBundle } from '../../../support/own-bundle.ts';

const CONFIG = {
  defaultSvidName: 'default',
  defaultBundleName: 'ROOTCA',
  defaultAllBundlesName: 'ALL',
  disableSpiffeCertValidation: false,
};
const NAMES = ['default', 'ROOTCA', 'ALL', 'spiffe://example.org', 'spiffe://example.org/a'];

/** What a test may do. A client that is `silent` has read nothing and answered nothing; `nack` says what it thinks of what it reads. */
type Command =
  | { readonly do: 'rotate' }
  | { readonly do: 'revoke' }
  | { readonly do: 'want'; readonly names: readonly string[] }
  | { readonly do: 'send' }
  | { readonly do: 'read'; readonly nack: boolean }
  | { readonly do: 'reconnect' };

const command: fc.Arbitrary<Command> = fc.oneof(
  fc.constant({ do: 'rotate' as const }),
  fc.constant({ do: 'revoke' as const }),
  fc.record({ do: fc.constant('want' as const), names: fc.subarray(NAMES, { minLength: 1 }) }),
  { weight: 3, arbitrary: fc.constant({ do: 'send' as const }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('read' as const), nack: fc.boolean() }) },
  fc.constant({ do: 'reconnect' as const }),
);

/** A client that follows the protocol: what it wants, and the content that it has of each secret. */
interface Client {
  /** Says what is wanted, on a stream that may be new. */
  want(names: readonly string[]): void;
  /** Takes the oldest response that it has not read, if there is one, and answers it. */
  read(nack: boolean): void;
  /** Begins a new stream with what it has. */
  reconnect(): void;
  readonly protocol: Protocol<never>;
  readonly unread: Response[];
  readonly has: ReadonlyMap<string, string>;
}

function proxy(): Proxy {
  return new Proxy(livingInstance(), CONFIG, new Acknowledgements(new ManualClock(), silent));
}

function streamClient(): Client {
  const has = new Map<string, string>();
  const unread: Response[] = [];
  let protocol = new StateOfTheWorld(proxy());
  let nonce = '';
  let versionInfo = '';
  let wanted: readonly string[] = [];
  const say = (more: MessageInitShape<typeof DiscoveryRequestSchema> = {}) => {
    const said = { resourceNames: [...wanted], responseNonce: nonce, versionInfo, ...more };
    protocol.receive(create(DiscoveryRequestSchema, said));
  };
  return {
    get protocol() {
      return protocol as Protocol<never>;
    },
    unread,
    has,
    want(names) {
      wanted = names;
      for (const name of has.keys()) if (!names.includes(name)) has.delete(name);
      say();
    },
    read(nack) {
      const response = unread.shift();
      if (response === undefined) return;
      const { message } = response;
      const bytes = message instanceof Uint8Array ? message : message.bytes;
      const read = fromBinary(DiscoveryResponseSchema, bytes);
      nonce = read.nonce;
      if (nack) return say({ errorDetail: { message: 'no' } });
      versionInfo = read.versionInfo;
      for (const { value } of read.resources) {
        const [name, content] = nameAndContent(value);
        if (wanted.includes(name)) has.set(name, content);
      }
      say();
    },
    reconnect() {
      protocol = new StateOfTheWorld(proxy());
      unread.length = 0;
      nonce = '';
      if (wanted.length > 0) say();
    },
  };
}

function deltaClient(): Client {
  const has = new Map<string, string>();
  const versions = new Map<string, string>();
  const unread: Response[] = [];
  let protocol = new Delta(proxy());
  let wanted: readonly string[] = [];
  const say = (said: MessageInitShape<typeof DeltaDiscoveryRequestSchema>) =>
    protocol.receive(create(DeltaDiscoveryRequestSchema, said));
  const forget = (name: string) => {
    has.delete(name);
    versions.delete(name);
  };
  return {
    get protocol() {
      return protocol as Protocol<never>;
    },
    unread,
    has,
    want(names) {
      const off = wanted.filter((name) => !names.includes(name));
      const on = names.filter((name) => !wanted.includes(name));
      wanted = names;
      for (const name of off) forget(name);
      if (on.length + off.length > 0) say({ resourceNamesSubscribe: on, resourceNamesUnsubscribe: off });
    },
    read(nack) {
      const response = unread.shift();
      if (response === undefined) return;
      const { message } = response;
      const bytes = message instanceof Uint8Array ? message : message.bytes;
      const read = fromBinary(DeltaDiscoveryResponseSchema, bytes);
      if (nack) return say({ responseNonce: read.nonce, errorDetail: { message: 'no' } });
      for (const name of read.removedResources) forget(name);
      for (const { name, resource, version } of read.resources) {
        const [inside, content] = nameAndContent(resource?.value ?? new Uint8Array());
        expect(inside).toBe(name);
        if (!wanted.includes(name)) continue;
        has.set(name, content);
        versions.set(name, version);
      }
      say({ responseNonce: read.nonce });
    },
    reconnect() {
      protocol = new Delta(proxy());
      unread.length = 0;
      if (wanted.length === 0) return;
      say({ resourceNamesSubscribe: [...wanted], initialResourceVersions: Object.fromEntries(versions) });
    },
  };
}

/** The name stands first in a secret. */
function nameAndContent(secret: Uint8Array): [string, string] {
  const bytes = Buffer.from(secret);
  return [bytes.subarray(2, 2 + (bytes[1] ?? 0)).toString(), bytes.toString('latin1')];
}

/** What a caller may have, which changes. */
class World {
  #svid: X509Svid = svidOf();
  #number = 1;
  #lists = { number: 1, crls: [randomBytes(20)] };
  readonly #bundles = {
    own: ownBundle(),
    federated: [],
  };

  rotate(): void {
    this.#svid = svidOf();
  }

  revoke(): void {
    this.#number += 1;
    this.#lists = { number: this.#number, crls: [randomBytes(20)] };
  }

  get holdable(): Holdable {
    return { svids: [this.#svid], bundles: this.#bundles, lists: this.#lists };
  }

  /** What a client has of a name when it is up to date. */
  content(name: string): string {
    const kind = name === 'default' || name.endsWith('/a') ? 'svid' : name === 'ALL' ? 'all-bundles' : 'bundle';
    const resource = secretFor({ name, kind }, this.holdable, 'spiffe');
    if (resource === undefined) throw new Error(`nothing for ${name}`);
    const [, value] = resource.any;
    const bytes = Buffer.alloc(value?.length ?? 0);
    value?.write(bytes, 0);
    // Behind the tag and the length of the value in its `Any`.
    const header = (bytes[1] ?? 0) < 0x80 ? 2 : 3;
    return bytes.subarray(header).toString('latin1');
  }
}

function svidOf(): X509Svid {
  return {
    decisionId: 'd',
    spiffeId: parseSpiffeId('spiffe://example.org/a'),
    chain: [randomBytes(40)],
    privateKey: new Secret(randomBytes(30)),
    serial: '1',
    notBefore: 0,
    issuedAt: 0,
    expiresAt: 1,
  };
}

test.each([
  ['of the state of the world', streamClient],
  ['of changes', deltaClient],
])('a client %s comes to have just what it wants, however it reads, refuses and comes back', (_which, start) => {
  fc.assert(
    fc.property(fc.array(command, { maxLength: 40 }), (commands) => {
      const world = new World();
      const client = start();
      let wanted: readonly string[] = [];
      let refused = false;
      const send = () => {
        const response = client.protocol.next(world.holdable);
        if (response !== undefined) client.unread.push(response);
        return response !== undefined;
      };
      for (const each of commands) {
        if (each.do === 'rotate') world.rotate();
        else if (each.do === 'revoke') world.revoke();
        else if (each.do === 'send') send();
        else if (each.do === 'read') {
          refused ||= each.nack;
          client.read(each.nack);
        } else if (each.do === 'reconnect') client.reconnect();
        else {
          wanted = each.names;
          client.want(wanted);
        }
      }
      // What was refused is not sent again as it is. From here on nothing is refused.
      while (client.unread.length > 0) client.read(false);
      if (refused) {
        world.rotate();
        world.revoke();
      }
      let sent = 0;
      while (send()) {
        sent += 1;
        while (client.unread.length > 0) client.read(false);
      }
      expect(sent).toBeLessThanOrEqual(2);
      expect([...client.has.keys()].toSorted()).toEqual([...wanted].toSorted());
      for (const name of wanted) expect(client.has.get(name)).toBe(world.content(name));
    }),
    { numRuns: 300 },
  );
});
