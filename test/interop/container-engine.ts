/** A container engine of a test's own, and its command line. */
export interface ContainerEngine extends AsyncDisposable {
  /** Which attestor asks it. */
  readonly attestor: 'docker' | 'podman';
  readonly socket: string;
  /** Ends what answers on the socket; containers run on. */
  down(): Promise<void>;
  /** Starts it again. */
  up(): Promise<void>;
  /** Runs the command line. @returns what it has printed, without the last newline. @throws Error with what it has said */
  cli(args: readonly string[]): Promise<string>;
  /** Makes an image of the files in an archive. @param changes as in a Dockerfile: `LABEL tier=web` */
  image(name: string, rootfs: string, changes?: readonly string[]): Promise<void>;
  /** Starts a container that runs on. @returns its id */
  run(args: readonly string[]): Promise<string>;
}
