import type { Node } from '../../gen/envoy/config/core/v3/base_pb.js';
import type { Status } from '../../gen/google/rpc/status_pb.js';
import { MayflyError } from '../../kernel/errors.ts';
import type { ProcessInstance } from '../../peer/instance.ts';
import type { Acknowledgements } from './acknowledgements.ts';
import { SECRET_TYPE } from './resource.ts';
import type { SecretNames } from './resource-name.ts';
import type { Validator } from './validation-context.ts';

/** What configuration says of SDS. */
export interface SdsConfig extends SecretNames {
  /** Whether validation contexts are plain `trusted_ca` unless a node's metadata says otherwise. */
  readonly disableSpiffeCertValidation: boolean;
}

/** The node metadata by which a proxy says for itself what {@link SdsConfig.disableSpiffeCertValidation} says for all. */
const DISABLE_VALIDATION = 'disable_spiffe_cert_validation';

// As Go's strconv.ParseBool has it, by which SPIRE's agent reads the same metadata.
const TRUE = new Set<unknown>([true, '1', 't', 'T', 'TRUE', 'true', 'True']);
const FALSE = new Set<unknown>([false, '0', 'f', 'F', 'FALSE', 'false', 'False']);

/** The proxy at the other end of a stream: what it said of itself, and what it did with what it was sent. */
export class Proxy {
  readonly #instance: ProcessInstance;
  readonly #config: SdsConfig;
  readonly #acknowledgements: Acknowledgements;
  // Of the newest request that had a node: a proxy need not say it twice. Not the node itself, which lists all that Envoy can do.
  #nodeId = '';
  #validator: Validator;

  constructor(instance: ProcessInstance, config: SdsConfig, acknowledgements: Acknowledgements) {
    this.#instance = instance;
    this.#config = config;
    this.#acknowledgements = acknowledgements;
    this.#validator = validatorFor(undefined, config);
  }

  get names(): SecretNames {
    return this.#config;
  }

  /** How it wants validation contexts. */
  get validator(): Validator {
    return this.#validator;
  }

  /**
   * Takes what every request has.
   *
   * @throws MayflyError `INVALID_REQUEST` for resources that are no secrets
   */
  heard({ node, typeUrl }: { readonly node?: Node | undefined; readonly typeUrl: string }): void {
    if (typeUrl !== '' && typeUrl !== SECRET_TYPE) {
      throw new MayflyError(
        'INVALID_REQUEST',
        `resources of type ${JSON.stringify(typeUrl.slice(0, 200))} are asked for; there are only ${SECRET_TYPE}`,
      );
    }
    if (node === undefined) return;
    this.#nodeId = node.id;
    this.#validator = validatorFor(node.metadata?.[DISABLE_VALIDATION], this.#config);
  }

  /** Takes what it did with a response: without an error it has taken it over. */
  acknowledged(error: Status | undefined, names: readonly string[]): void {
    if (error === undefined) this.#acknowledgements.accept();
    else this.#acknowledgements.reject(this.#instance, { node: this.#nodeId, names, reason: error.message });
  }
}

/** What can mean neither is passed over, as SPIRE's agent does. */
function validatorFor(asked: unknown, { disableSpiffeCertValidation }: SdsConfig): Validator {
  return TRUE.has(asked) || (disableSpiffeCertValidation && !FALSE.has(asked)) ? 'trusted-ca' : 'spiffe';
}
