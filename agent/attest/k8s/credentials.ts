import { readFile } from 'node:fs/promises';
import { Agent as HttpAgent } from 'node:http';
import { type AgentOptions, Agent as HttpsAgent } from 'node:https';
import { messageOf } from '../../kernel/errors.ts';
import type { KubeletOptions, KubeletPlace } from './kubelet-options.ts';

/** What a request is made with. */
export interface Connections {
  readonly agent: HttpAgent;
  /** Goes into the request's header and nowhere else. */
  readonly authorization: string | undefined;
}

/**
 * The files that a request needs, read again for each: a service account's token is another one every hour, certificates too. The
 * connection is kept while what it was made with is the same.
 */
export class KubeletCredentials {
  readonly #place: KubeletPlace;
  readonly #options: KubeletOptions;
  #made: { readonly of: string; readonly agent: HttpAgent } | undefined;

  constructor(place: KubeletPlace, options: KubeletOptions) {
    this.#place = place;
    this.#options = options;
  }

  /** @throws Error that names the key and the file which cannot be read */
  async current(): Promise<Connections> {
    if (!this.#place.secure) return { agent: this.#agentOf('', () => new HttpAgent(KEPT)), authorization: undefined };
    const { certificatePath, kubeletCaPath, privateKeyPath, skipKubeletVerification, tokenPath } = this.#options;
    const withCertificate = certificatePath !== '';
    const [ca, cert, key, token] = await Promise.all([
      skipKubeletVerification ? undefined : read('kubelet_ca_path', kubeletCaPath),
      withCertificate ? read('certificate_path', certificatePath) : undefined,
      withCertificate ? read('private_key_path', privateKeyPath) : undefined,
      withCertificate ? undefined : read('token_path', tokenPath),
    ]);
    const options: AgentOptions = {
      ...KEPT,
      ...(ca !== undefined && { ca }),
      ...(cert !== undefined && { cert }),
      ...(key !== undefined && { key }),
      // The file may hold the certificate itself: a kubelet's own is signed by nobody that others know.
      allowPartialTrustChain: true,
      rejectUnauthorized: !skipKubeletVerification,
      ...(!this.#place.named && { checkServerIdentity: () => undefined }),
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

const KEPT = { keepAlive: true, maxSockets: 1 } as const;

async function read(key: string, path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new Error(`attestors.k8s.${key} cannot be read: ${messageOf(error)}`, { cause: error });
  }
}
