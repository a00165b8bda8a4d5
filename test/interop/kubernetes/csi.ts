import type { Values } from './helm.ts';

/** An image, as values of the chart name it. */
interface ImageName {
  readonly repository: string;
  readonly tag: string;
}

/** The driver, and what tells the kubelet of it. */
export const DRIVER: ImageName = { repository: 'mayfly.test/spiffe-csi-driver', tag: '0.2.3' };
export const REGISTRAR: ImageName = { repository: 'mayfly.test/registrar', tag: '1' };

export function nameOf({ repository, tag }: ImageName): string {
  return `${repository}:${tag}`;
}

/** The chart with the driver, out of images that no registry has. @param kubeletDir of the node */
export function withCsi(kubeletDir: string): Values {
  const image = (name: ImageName) => ({ ...name, pullPolicy: 'Never' });
  return { csi: { enabled: true, kubeletDir, image: image(DRIVER), registrar: { image: image(REGISTRAR) } } };
}
