import { SpiffeWorkloadAPI } from '../gen/workload_pb.js';
import { isMayflyError } from '../kernel/errors.ts';
import { Latest } from '../kernel/latest.ts';
import { sleep } from '../kernel/sleep.ts';
import type { AgentClient } from './client.ts';
import { connectApi } from './client.ts';
import type { Followed } from './follow.ts';
import { follow } from './follow.ts';
import { Hook } from './hook.ts';
import type { Invocation } from './invocation.ts';
import type { SvidPem } from './svid-files.ts';
import { SvidFiles, X509_FILES } from './svid-files.ts';
import type { X509Context, X509Identity } from './x509-identity.ts';
import { forgetKeys, keyPemOf, readX509Context, serialOf } from './x509-identity.ts';

export interface KeepOptions {
  /** A directory to keep fresh files of the default identity in. */
  readonly write?: string;
  /** A command line to run after each update. */
  readonly exec?: string;
}

/** Told of each update once its files are written; `before` is the last that was told and still holds. */
export type Report = (context: X509Context, before: X509Context | undefined) => void;

const WRITE_AGAIN_MS = 5_000;
// Under churn the agent tells of new lists each second, and what reads the files is made to read them all again.
const LISTS_AGAIN_MS = 30_000;

/**
 * Holds this process' identities until it is told to end, across restarts of the agent. The files are there as long as the identity is:
 * they go when it is withdrawn, and at the end.
 *
 * @param patient whether to wait for an agent that does not answer the first time
 * @throws MayflyError what asking again would not change, and what {@link SvidFiles} throws the first time
 */
export async function keepX509(invocation: Invocation<KeepOptions>, patient: boolean, report: Report): Promise<void> {
  using interruption = invocation.terminal.interruption();
  const failed = new AbortController();
  const keeper = new Keeper(invocation, AbortSignal.any([interruption.signal, failed.signal]), report);
  try {
    const receiving = keeper.receive(patient);
    await keeper.apply().finally(() => failed.abort());
    await receiving;
  } finally {
    keeper.files?.wipe();
  }
}

/** Writes the default identity's files, and the lists that others are held against. */
export function writeFiles(files: SvidFiles<SvidPem>, { crls, identities: [identity] }: X509Context): void {
  files.write({
    svid: identity.chain.join(''),
    key: keyPemOf(identity),
    bundle: identity.bundle.join(''),
    ...(crls.length > 0 && { crl: crls.map(crlPem).join('') }),
  });
}

class Keeper {
  readonly files: SvidFiles<SvidPem> | undefined;
  readonly #invocation: Invocation;
  readonly #hook: Hook | undefined;
  readonly #signal: AbortSignal;
  readonly #report: Report;
  // While a hook runs the files stay as they are; of the updates that come meanwhile only the newest counts.
  readonly #newest = new Latest<Exclude<Followed<X509Context>, { kind: 'lost' }>>();
  #news = new AbortController();
  #listsDueAt = 0;

  constructor(invocation: Invocation<KeepOptions>, signal: AbortSignal, report: Report) {
    const { write, exec } = invocation.options;
    this.files = write === undefined ? undefined : SvidFiles.open(write, X509_FILES);
    this.#hook = exec === undefined ? undefined : new Hook(exec, invocation.terminal);
    this.#invocation = invocation;
    this.#signal = signal;
    this.#report = report;
  }

  /** Takes in what the agent says, at once whatever is being done with the last. Never throws: {@link apply} does. */
  async receive(patient: boolean): Promise<void> {
    const { clock, random } = this.#invocation.terminal;
    let told: string | undefined;
    try {
      // One for all attempts: gRPC leaves a connection that the agent never answers open for as long as the agent does.
      using client = connectApi(this.#invocation);
      const events = follow((signal) => updates(client, signal), { clock, random, signal: this.#signal, patient });
      for await (const event of events) {
        if (event.kind !== 'lost') this.#tell(event);
        if (event.kind === 'update') {
          told = undefined;
        } else if (event.error.message !== told) {
          // Once, not at every attempt.
          told = event.error.message;
          this.#invocation.output.notice(`${told}; asking again until there is an answer`);
        }
      }
    } catch (error) {
      this.#newest.end(error);
    }
  }

  /** Does with each update what was asked for. */
  async apply(): Promise<void> {
    let before: X509Context | undefined;
    for await (const event of this.#newest.follow(this.#signal)) {
      if (event.kind === 'withdrawn') {
        this.files?.wipe();
        before = undefined;
        continue;
      }
      if (before !== undefined && differInListsAlone(before, event.update) && !(await this.#listsAreDue())) continue;
      if (!(await this.#write(event.update, before !== undefined))) continue;
      forgetKeys(event.update);
      this.#report(event.update, before);
      before = event.update;
      const failure = await this.#hook?.run(
        hookVariables(event.update.identities[0], this.files, event.update.crls.length > 0),
        this.#signal,
      );
      if (failure !== undefined) this.#invocation.output.notice(failure);
    }
  }

  #tell(event: Exclude<Followed<X509Context>, { kind: 'lost' }>): void {
    this.#newest.set(event);
    this.#news.abort();
    this.#news = new AbortController();
  }

  /** Where files are kept or a program is told: waits until new lists may be taken over. False when something newer came first. */
  async #listsAreDue(): Promise<boolean> {
    if (this.files === undefined && this.#hook === undefined) return true;
    const { clock } = this.#invocation.terminal;
    const { version } = this.#newest;
    const left = this.#listsDueAt - clock.monotonic();
    if (left > 0) await sleep(left, clock, AbortSignal.any([this.#signal, this.#news.signal]));
    if (this.#signal.aborted || this.#newest.version !== version) return false;
    this.#listsDueAt = clock.monotonic() + LISTS_AGAIN_MS;
    return true;
  }

  /** A full disk may have room again before the certificate that is there has expired. False when a newer update is to be written. */
  async #write(context: X509Context, again: boolean): Promise<boolean> {
    const { files } = this;
    if (files === undefined) return true;
    const { clock } = this.#invocation.terminal;
    const version = this.#newest.version;
    while (!this.#signal.aborted && this.#newest.version === version) {
      try {
        writeFiles(files, context);
        return true;
      } catch (error) {
        if (!again || !isMayflyError(error)) throw error;
        this.#invocation.output.notice(`${error.message}; the last files stay, trying again`);
        await sleep(WRITE_AGAIN_MS, clock, this.#signal);
      }
    }
    return false;
  }
}

async function* updates(client: AgentClient, signal: AbortSignal): AsyncGenerator<X509Context, void, undefined> {
  for await (const response of client.stream(SpiffeWorkloadAPI.method.fetchX509SVID, {}, signal)) {
    yield readX509Context(response);
  }
}

/** What a hook is told: where the files are, and what is in them. */
function hookVariables(
  { spiffeId, chain: [leaf] }: X509Identity,
  files: SvidFiles<SvidPem> | undefined,
  hasLists: boolean,
): Record<string, string> {
  return {
    MAYFLY_SPIFFE_ID: spiffeId,
    MAYFLY_SERIAL: serialOf(leaf),
    MAYFLY_NOT_AFTER: leaf.validToDate.toISOString(),
    ...(files !== undefined && {
      MAYFLY_SVID_FILE: files.path('svid.pem'),
      MAYFLY_KEY_FILE: files.path('key.pem'),
      MAYFLY_BUNDLE_FILE: files.path('bundle.pem'),
      ...(hasLists && { MAYFLY_CRL_FILE: files.path('crl.pem') }),
    }),
  };
}

/** Whether two updates say the same of who this is and whom to trust. */
function differInListsAlone(before: X509Context, after: X509Context): boolean {
  const said = ({ federated, identities }: X509Context) =>
    JSON.stringify([
      identities.map(({ bundle, chain, hint, spiffeId }) => [spiffeId, hint, chain.map(String), bundle.map(String)]),
      [...federated].map(([id, roots]) => [id, roots.map(String)]),
    ]);
  return said(before) === said(after);
}

function crlPem(der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN X509 CRL-----\n${lines.join('\n')}\n-----END X509 CRL-----\n`;
}
