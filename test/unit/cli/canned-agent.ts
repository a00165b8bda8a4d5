import { mkdtempSync, rmSync } from 'node:fs';
import type { Server } from 'node:net';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { MessageInitShape, MessageShape } from '@bufbuild/protobuf';
import type {
  DrillRequestSchema,
  DrillResponseSchema,
  RevokeRequestSchema,
  RevokeResponseSchema,
  WatchBundleResponseSchema,
  WatchEventsRequestSchema,
  WatchEventsResponseSchema,
} from '../../../agent/gen/admin_pb.js';
import { Admin } from '../../../agent/gen/admin_pb.js';
import { Health, HealthCheckResponse_ServingStatus as ServingStatus } from '../../../agent/gen/health_pb.js';
import { WorkloadExtension } from '../../../agent/gen/workload_extension_pb.js';
import type {
  JWTSVIDResponseSchema,
  WITSVIDResponseSchema,
  X509SVIDResponseSchema,
} from '../../../agent/gen/workload_pb.js';
import { SpiffeWorkloadAPI } from '../../../agent/gen/workload_pb.js';
import { parseAudiences } from '../../../agent/kernel/audience.ts';
import { MayflyError } from '../../../agent/kernel/errors.ts';
import { Latest } from '../../../agent/kernel/latest.ts';
import { parseSpiffeId } from '../../../agent/kernel/spiffe-id.ts';
import { GrpcServer } from '../../../agent/serve/grpc.ts';
import type { Handlers } from '../../../agent/serve/handlers.ts';
import { publicJwkOf } from '../../../agent/svid/jwk.ts';
import { JwtSigner } from '../../../agent/svid/jwt-signer.ts';
import { generateLeafKey } from '../../../agent/svid/leaf-key.ts';
import { generateSigningKey } from '../../../agent/svid/signing-key.ts';
import { generateWitKey } from '../../../agent/svid/wit-key.ts';
import { WitSigner } from '../../../agent/svid/wit-signer.ts';
import { LeafSigner } from '../../../agent/svid/x509.ts';
import { leafTerms, makeChain } from '../../support/issuer.ts';
import { MemoryLog } from '../../support/memory-log.ts';

export type X509Update = MessageInitShape<typeof X509SVIDResponseSchema>;
export type WitUpdate = MessageInitShape<typeof WITSVIDResponseSchema>;

/** A request of an operator that changes or watches something. */
export type OperatorRequest = MessageShape<
  typeof RevokeRequestSchema | typeof DrillRequestSchema | typeof WatchEventsRequestSchema
>;

const chain = makeChain('ec-p256');
const leafSigner = new LeafSigner(chain.issuer);
const jwtKey = generateSigningKey('ec-p256');
const jwtSigner = new JwtSigner(jwtKey, 'key-1');
const witSigner = new WitSigner(jwtKey, 'key-2');
export const FOREIGN_ROOT = makeChain('ec-p256').root;

/** A new certificate with a new key, as the agent would send it. */
export async function newSvid(more: { id?: string; hint?: string; dnsNames?: readonly string[] } = {}) {
  const { id = 'spiffe://example.org/payments', hint = '', dnsNames = [] } = more;
  const key = await generateLeafKey('ec-p256');
  const leaf = leafSigner.sign(leafTerms(key.publicKey, { id, dnsNames }));
  return {
    spiffeId: id,
    hint,
    x509Svid: Buffer.concat([leaf, chain.ca]),
    x509SvidKey: key.privateKey.reveal(),
    bundle: chain.root,
  };
}

/** A token for an hour from now. */
export function newToken(audiences: readonly string[], now = Date.now()): string {
  return jwtSigner.sign({
    id: parseSpiffeId('spiffe://example.org/payments'),
    audiences: parseAudiences(audiences),
    issuedAt: now,
    expiresAt: now + 3_600_000,
    jti: 'token-1',
  });
}

/** A WIT-SVID for an hour from now with a new key, as the agent would send it. */
export async function newWit(more: { jti?: string; hint?: string; id?: string } = {}) {
  const { hint = '', id = 'spiffe://example.org/payments', jti = 'wit-1' } = more;
  const { confirmation, privateKey } = await generateWitKey('ec-p256');
  const now = Date.now();
  const terms = { id: parseSpiffeId(id), confirmation, issuedAt: now, expiresAt: now + 3_600_000, jti };
  return { spiffeId: id, hint, witSvid: witSigner.sign(terms), witSvidKey: privateKey.reveal().toString() };
}

/** An agent that says what a test has put into it, on a real socket through the real gRPC server. */
export class CannedAgent implements AsyncDisposable {
  readonly x509 = new Latest<X509Update>();
  /** WIT-SVIDs are not offered until there are some. */
  readonly wit = new Latest<WitUpdate>();
  serving = true;
  /** Thrown at every call of the Workload API. */
  refusal: MayflyError | undefined;
  reloadErrors: string[] = [];
  revocation: MessageInitShape<typeof RevokeResponseSchema> = {};
  drill: MessageInitShape<typeof DrillResponseSchema> = {};
  /** What recent events are, and each later one for those who follow. */
  recent: readonly MessageInitShape<typeof WatchEventsResponseSchema>[] = [];
  readonly events = new Latest<MessageInitShape<typeof WatchEventsResponseSchema>>();
  /** The bundle of its own trust domain. */
  readonly bundle = new Latest<MessageInitShape<typeof WatchBundleResponseSchema>>();
  /** Where its ledger is. */
  ledgerDirectory = '';
  /** What operators asked for, in order. */
  readonly asked: OperatorRequest[] = [];
  /** Values of the security header of each call of the Workload API. */
  readonly headers: unknown[][] = [];
  /** How many streams of X.509-SVIDs were opened. */
  streams = 0;
  readonly directory: string;
  readonly #ownsDirectory: boolean;
  readonly #grpc = new GrpcServer<string>(
    { of: (peer) => peer, enterCall: () => () => {} },
    { maxMessageSize: 64 * 1024, maxHeaderSize: 16_384, maxCallsPerConnection: 256 },
    new MemoryLog(),
  );
  readonly #listeners: Server[];

  private constructor(directory: string | undefined, admin: Partial<Handlers<typeof Admin, string>>) {
    this.#ownsDirectory = directory === undefined;
    this.directory = directory ?? mkdtempSync(join(tmpdir(), 'mayfly-cli-'));
    this.#grpc.add(SpiffeWorkloadAPI, workloadApi(this));
    this.#grpc.add(WorkloadExtension, workloadExtension(this));
    this.#grpc.add(Admin, { ...this.#admin(), ...admin });
    this.#grpc.add(Health, this.#health());
    this.#listeners = [this.#listen(), this.#listen()];
  }

  /** @param directory where an earlier one was: this one listens at the same places */
  static async start(directory?: string, admin: Partial<Handlers<typeof Admin, string>> = {}): Promise<CannedAgent> {
    const agent = new CannedAgent(directory, admin);
    for (const [index, path] of [agent.socket, agent.adminSocket].entries()) {
      await new Promise<void>((resolve, reject) => {
        agent.#listeners[index]!.once('error', reject).listen(path, resolve);
      });
    }
    return agent;
  }

  get socket(): string {
    return join(this.directory, 'api.sock');
  }

  get adminSocket(): string {
    return join(this.directory, 'admin.sock');
  }

  /** Stops as an agent does, and leaves its directory. */
  async stop(): Promise<void> {
    const closed = Promise.all(this.#listeners.map((listener) => new Promise((resolve) => listener.close(resolve))));
    // Clients are told why, and have a moment to leave by themselves.
    await this.#grpc.drain(200);
    await closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    if (this.#ownsDirectory) rmSync(this.directory, { recursive: true });
  }

  #listen(): Server {
    return createServer((socket) => {
      Object.defineProperty(socket, 'remoteAddress', { value: 'connection-1' });
      Object.defineProperty(socket, 'remotePort', { value: 1 });
      this.#grpc.inject(socket);
    });
  }

  #admin(): Handlers<typeof Admin, string> {
    return {
      getStatus: () => ({
        version: '0.1.0',
        pid: 7,
        serving: this.serving,
        ...(this.ledgerDirectory !== '' && { ledger: { directory: this.ledgerDirectory, writable: true } }),
      }),
      listEntries: () => ({ digest: 'd' }),
      listLeases: () => ({}),
      attest: ({ pid }) => ({ pid }),
      reload: () => ({ errors: this.reloadErrors }),
      revoke: (request) => {
        this.asked.push(request);
        return this.revocation;
      },
      watchEvents: (request, { signal }) => this.#watchEvents(request, signal),
      watchBundle: (_request, { signal }) => this.bundle.follow(signal),
      drill: (request) => {
        this.asked.push(request);
        return this.drill;
      },
    };
  }

  async *#watchEvents(request: MessageShape<typeof WatchEventsRequestSchema>, signal: AbortSignal) {
    this.asked.push(request);
    if (request.recent) yield* this.recent;
    if (request.follow) yield* this.events.follow(signal);
  }

  #health(): Handlers<typeof Health, string> {
    return {
      check: () => ({ status: this.serving ? ServingStatus.SERVING : ServingStatus.NOT_SERVING }),
      list: () => ({ statuses: {} }),
      // oxlint-disable-next-line require-yield -- nobody asks for it here
      async *watch() {
        throw new MayflyError('NOT_OFFERED', 'off');
      },
    };
  }
}

function workloadApi(agent: CannedAgent): Handlers<typeof SpiffeWorkloadAPI, string> {
  const seen = (values: unknown[]) => {
    agent.headers.push(values);
    if (agent.refusal !== undefined) throw agent.refusal;
  };
  return {
    async *fetchX509SVID(_request, { metadata, signal }) {
      agent.streams += 1;
      seen(metadata.get('workload.spiffe.io'));
      yield* agent.x509.follow(signal);
    },
    async *fetchX509Bundles(_request, { metadata, signal }) {
      seen(metadata.get('workload.spiffe.io'));
      yield {
        bundles: { 'spiffe://example.org': chain.root, 'spiffe://other.org': FOREIGN_ROOT },
      };
      await aborted(signal);
    },
    fetchJWTSVID({ audience }, { metadata }): MessageInitShape<typeof JWTSVIDResponseSchema> {
      seen(metadata.get('workload.spiffe.io'));
      return { svids: [{ spiffeId: 'spiffe://example.org/payments', svid: newToken(audience), hint: 'internal' }] };
    },
    async *fetchJWTBundles(_request, { metadata, signal }) {
      seen(metadata.get('workload.spiffe.io'));
      const jwks = { keys: [{ ...publicJwkOf(jwtKey.privateKey), kid: 'key-1' }] };
      yield { bundles: { 'spiffe://example.org': Buffer.from(JSON.stringify(jwks)) } };
      await aborted(signal);
    },
    validateJWTSVID({ audience, svid }, { metadata }) {
      seen(metadata.get('workload.spiffe.io'));
      if (svid !== 'good.to.ken') throw new MayflyError('TOKEN_INVALID', 'token has expired (exp)');
      return {
        spiffeId: 'spiffe://example.org/payments',
        claims: { sub: 'spiffe://example.org/payments', aud: [audience], exp: 1_767_225_600, evil: '\u001b[31mred' },
      };
    },
    async *fetchWITSVID(_request, { metadata, signal }) {
      seen(metadata.get('workload.spiffe.io'));
      if (agent.wit.version === 0) throw new MayflyError('NOT_OFFERED', 'the WIT-SVID profile is switched off');
      yield* agent.wit.follow(signal);
    },
    async *fetchWITBundles(_request, { metadata, signal }) {
      seen(metadata.get('workload.spiffe.io'));
      if (agent.wit.version === 0) throw new MayflyError('NOT_OFFERED', 'the WIT-SVID profile is switched off');
      const jwks = { keys: [{ ...publicJwkOf(jwtKey.privateKey), kid: 'key-2', use: 'wit-svid' }] };
      yield { bundles: { 'spiffe://example.org': JSON.stringify(jwks) } };
      await aborted(signal);
    },
  };
}

function workloadExtension(agent: CannedAgent): Handlers<typeof WorkloadExtension, string> {
  return {
    validateWITSVID({ svid }, { metadata }) {
      agent.headers.push(metadata.get('workload.spiffe.io'));
      if (svid !== 'good.to.ken') throw new MayflyError('TOKEN_INVALID', 'token has no cnf');
      const claims = { sub: 'spiffe://example.org/payments', exp: 1_767_225_600, cnf: { jwk: { alg: 'ES256' } } };
      return { spiffeId: 'spiffe://example.org/payments', claims, confirmationKey: '{"alg":"ES256"}' };
    },
  };
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => resolve());
  });
}
