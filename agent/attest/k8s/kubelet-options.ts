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

/** Whom to ask, and whether his certificate has to bear that name. */
export interface KubeletPlace {
  readonly secure: boolean;
  readonly host: string;
  readonly port: number;
  /**
   * A kubelet's certificate names its node and not the loopback address: asked there, it is held to its signer alone, as SPIRE does.
   * Only this machine can answer there.
   */
  readonly named: boolean;
}

export function kubeletPlace(options: KubeletOptions, environment: NodeJS.ProcessEnv): KubeletPlace {
  const { kubeletReadOnlyPort: readOnly, kubeletSecurePort: port } = options;
  if (readOnly !== 0) return { secure: false, host: LOOPBACK, port: readOnly, named: false };
  const node = options.nodeName || environment[options.nodeNameEnv] || '';
  return { secure: true, host: node || LOOPBACK, port, named: node !== '' };
}
