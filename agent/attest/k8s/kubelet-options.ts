import type { Address, CredentialFile, CredentialFiles } from './credentials.ts';

/** Where the kubelet is and how it is spoken to; the keys are those of SPIRE's plugin. */
export interface KubeletOptions {
  /** The name or address of the node, which the kubelet's certificate has to bear; empty: as {@link nodeNameEnv} says. */
  readonly nodeName: string;
  /** The environment variable with the node's name. */
  readonly nodeNameEnv: string;
  readonly kubeletSecurePort: number;
  /** Unless 0, the port without TLS is asked instead, on this machine. */
  readonly kubeletReadOnlyPort: number;
  /** A PEM file: who signs the kubelet's certificate, or that certificate itself. */
  readonly kubeletCaPath: string;
  readonly skipKubeletVerification: boolean;
  readonly tokenPath: string;
  /** Unless empty, a client certificate is shown rather than a token. */
  readonly certificatePath: string;
  readonly privateKeyPath: string;
  /** The largest answer that is read, in bytes. */
  readonly maxAnswerSize: number;
}

/** The machine itself, where nobody has named the node. */
const LOOPBACK = '127.0.0.1';

/**
 * Where the kubelet is asked. Its certificate names its node and not the loopback address: asked there, it is held to its signer alone,
 * as SPIRE does. Only this machine can answer there.
 */
export function kubeletAddress(options: KubeletOptions, environment: NodeJS.ProcessEnv): Address {
  const { kubeletReadOnlyPort: readOnly, kubeletSecurePort: port } = options;
  if (readOnly !== 0) return { secure: false, host: LOOPBACK, port: readOnly, named: false };
  const node = options.nodeName || environment[options.nodeNameEnv] || '';
  return { secure: true, host: node || LOOPBACK, port, named: node !== '' };
}

/** What it is shown, and held to. */
export function kubeletFiles(options: KubeletOptions): CredentialFiles {
  const { certificatePath, kubeletCaPath, privateKeyPath, skipKubeletVerification, tokenPath } = options;
  return {
    ca: skipKubeletVerification ? undefined : file('kubelet_ca_path', kubeletCaPath),
    proof:
      certificatePath === ''
        ? { kind: 'token', token: file('token_path', tokenPath) }
        : {
            kind: 'certificate',
            certificate: file('certificate_path', certificatePath),
            key: file('private_key_path', privateKeyPath),
          },
  };
}

function file(key: string, path: string): CredentialFile {
  return { name: `attestors.k8s.${key}`, path };
}
