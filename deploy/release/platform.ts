/** A machine that there is a release for. */
export interface Platform {
  /** As Node and npm name its processor. */
  readonly arch: 'x64' | 'arm64';
  /** As Debian, Docker and Kubernetes name it, and so do the files of a release. */
  readonly name: 'amd64' | 'arm64';
  /** Where Debian keeps its libraries. */
  readonly triplet: string;
}

export const PLATFORMS: readonly Platform[] = [
  { arch: 'x64', name: 'amd64', triplet: 'x86_64-linux-gnu' },
  { arch: 'arm64', name: 'arm64', triplet: 'aarch64-linux-gnu' },
];
