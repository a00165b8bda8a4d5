import type { Clock } from '../../kernel/clock.ts';
import type { AnswerSink } from '../http-answer.ts';
import { Endpoint } from './endpoint.ts';
import { type KubeletOptions, kubeletAddress, kubeletFiles } from './kubelet-options.ts';

/** Whoever has the list of this node's pods. */
export interface PodSource {
  /**
   * Asks for the list, once.
   *
   * @returns what is another object whenever somebody else may have answered: after a restart of the kubelet it always is
   * @throws Error, a sentence that names the kubelet; what was handed on by then is worth nothing
   */
  read(sink: AnswerSink, signal: AbortSignal): Promise<object>;
  close(): void;
}

// A kubelet with much to do takes its time; one that takes longer would never be up to date.
const ANSWER_MS = 10_000;
const REFUSALS: Readonly<Record<number, string>> = {
  401: 'does not know the agent (401): its credentials are not accepted, or webhook authentication is off',
  403: 'does not let the agent list pods (403): its role needs get on nodes/pods, or on nodes/proxy before Kubernetes 1.33',
};

/** The kubelet of this node. */
export class Kubelet implements PodSource {
  readonly #endpoint: Endpoint;

  constructor(options: KubeletOptions, environment: NodeJS.ProcessEnv, clock: Clock) {
    this.#endpoint = new Endpoint({
      name: 'the kubelet',
      address: kubeletAddress(options, environment),
      files: kubeletFiles(options),
      wanted: 'list of pods',
      refusals: REFUSALS,
      deadline: ANSWER_MS,
      maxAnswerSize: options.maxAnswerSize,
      maxAnswerSizeKey: 'attestors.k8s.max_answer_size',
      clock,
    });
  }

  read(sink: AnswerSink, signal: AbortSignal): Promise<object> {
    return this.#endpoint.get('/pods', sink, signal);
  }

  close(): void {
    this.#endpoint.close();
  }
}
