import { createHash } from 'node:crypto';
import type { Component } from './component.ts';
import type { Origin } from './origin.ts';
import type { Platform } from './platform.ts';

/**
 * What is in a release, as a CycloneDX document. It lists what is shipped and not what was installed: the bundler leaves most of that
 * out. The same release has the same document, its serial number included, which is made from the rest.
 */
export function sbom(
  name: 'mayfly' | 'mayfly-base',
  origin: Origin,
  platform: Platform,
  components: readonly Component[],
): string {
  const ref = `pkg:generic/${name}@${origin.version}`;
  const document = {
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    version: 1,
    metadata: {
      timestamp: origin.date,
      lifecycles: [{ phase: 'build' }],
      component: {
        type: 'application',
        'bom-ref': ref,
        name,
        version: origin.version,
        licenses: [{ expression: 'Apache-2.0' }],
        properties: [
          { name: 'commit', value: origin.commit ?? 'unknown' },
          { name: 'platform', value: `linux/${platform.name}` },
        ],
      },
    },
    components: components.map(({ name: part, version, purl, license, hash }) => ({
      type: 'library',
      'bom-ref': purl,
      name: part,
      version,
      purl,
      licenses: [{ expression: license }],
      hashes: [hash],
    })),
    dependencies: [{ ref, dependsOn: components.map(({ purl }) => purl) }],
  };
  const digest = createHash('sha256').update(JSON.stringify(document)).digest('hex');
  return `${JSON.stringify({ ...document, serialNumber: `urn:uuid:${uuid(digest)}` }, undefined, 2)}\n`;
}

/** A UUID of version 8, RFC 9562: whatever its maker likes. */
function uuid(digest: string): string {
  const parts = [digest.slice(0, 8), digest.slice(8, 12), `8${digest.slice(13, 16)}`, `a${digest.slice(17, 20)}`];
  return [...parts, digest.slice(20, 32)].join('-');
}
