import type { AnswerSink } from '../../agent/attest/http-answer.ts';
import type { PodSource } from '../../agent/attest/k8s/kubelet.ts';
import { podJson, podListJson, type TestPod } from './pods.ts';

/** A list of pods without a kubelet, for what time has to do with it. */
export class MemoryPodSource implements PodSource {
  /** How often it was asked. */
  requests = 0;
  closed = false;
  #pods: readonly string[] = [];
  #kubelet = {};
  #failure: Error | undefined;
  #held: Promise<void> | undefined;

  /** Lists these pods from now on. */
  list(...pods: readonly TestPod[]): void {
    this.#pods = pods.map(podJson);
    this.#failure = undefined;
  }

  /** Answers no more, until there is another list. */
  fail(message: string): void {
    this.#failure = new Error(message);
  }

  /** As after a start of the kubelet: the next answer is somebody else's. */
  restart(): void {
    this.#kubelet = {};
  }

  /** Answers only once the returned function has been called. */
  hold(): () => void {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#held = promise;
    return resolve;
  }

  async read(sink: AnswerSink): Promise<object> {
    this.requests += 1;
    const text = podListJson(this.#pods);
    await this.#held;
    if (this.#failure !== undefined) throw this.#failure;
    sink.push(Buffer.from(text));
    sink.end();
    return this.#kubelet;
  }

  close(): void {
    this.closed = true;
  }
}
