import { readFile } from 'node:fs/promises';
import type { Agent as HttpAgent } from 'node:http';
import { type AgentOptions, Agent as HttpsAgent } from 'node:https';
import { messageOf } from '../../kernel/errors.ts';
import { http } from '../../kernel/http.ts';

/** Where somebody is asked. */
export interface Address {
  readonly secure: boolean;
  readonly host: string;
  readonly port: number;
  /** Whether his certificate has to bear `host`. */
  readonly named: boolean;
}

/** A file in PEM, or with a token. */
export interface CredentialFile {
  /** What the operator knows it by: `attestors.k8s.token_path`. */
  readonly name: string;
  readonly path: string;
}

/** What one side shows the other; over TLS only. */
export interface CredentialFiles {
  /** Who signs the other side's certificate, or that certificate itself; `undefined`: nobody looks at it. */
  readonly ca: CredentialFile | undefined;
  readonly proof:
    | { readonly kind: 'token'; readonly token: CredentialFile }
    | { readonly kind: 'certificate'; readonly certificate: CredentialFile; readonly key: CredentialFile };
}

/** What a request is made with. */
export interface Connections {
  readonly agent: HttpAgent;
  /** Goes into the request's header and nowhere else. */
  readonly authorization: string | undefined;
}

const KEPT = { keepAlive: true, maxSockets: 1 } as const;

/**
 * The files that a request needs, read again for each: a service account's token is another one every hour, certificates too. The
 * connection is kept while what it was made with is the same.
 */
export class Credentials {
  readonly #address: Address;
  readonly #files: CredentialFiles;
  #made: { readonly of: string; readonly agent: HttpAgent } | undefined;

  constructor(address: Address, files: CredentialFiles) {
    this.#address = address;
    this.#files = files;
  }

  /** @throws Error that names the file which cannot be read */
  async current(): Promise<Connections> {
    const { named, secure } = this.#address;
    if (!secure) return { agent: this.#agentOf('', () => new http.Agent(KEPT)), authorization: undefined };
    const { ca: caFile, proof } = this.#files;
    const [ca, cert, key, token] = await Promise.all([
      caFile && read(caFile),
      proof.kind === 'certificate' ? read(proof.certificate) : undefined,
      proof.kind === 'certificate' ? read(proof.key) : undefined,
      proof.kind === 'token' ? read(proof.token) : undefined,
    ]);
    const options: AgentOptions = {
      ...KEPT,
      ...(ca !== undefined && { ca }),
      ...(cert !== undefined && { cert }),
      ...(key !== undefined && { key }),
      // The file may hold the certificate itself: a kubelet's own is signed by nobody that others know.
      allowPartialTrustChain: true,
      rejectUnauthorized: caFile !== undefined,
      ...(!named && { checkServerIdentity: () => undefined }),
    };
    const agent = this.#agentOf([ca, cert, key].join('\n'), () => new HttpsAgent(options));
    return { agent, authorization: token === undefined ? undefined : `Bearer ${token.trim()}` };
  }

  close(): void {
    this.#made?.agent.destroy();
    this.#made = undefined;
  }

  #agentOf(files: string, make: () => HttpAgent): HttpAgent {
    if (this.#made?.of === files) return this.#made.agent;
    const agent = make();
    this.#made?.agent.destroy();
    this.#made = { of: files, agent };
    return agent;
  }
}

async function read({ name, path }: CredentialFile): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new Error(`${name} cannot be read: ${messageOf(error)}`, { cause: error });
  }
}
