import type { Component } from './component.ts';

const RULE = '-'.repeat(80);

/** The licences of everything that is in a release and somebody else's. */
export function licences(components: readonly Component[]): string {
  return components
    .map(({ name, version, license, texts }) => {
      const head = `${RULE}\n${name} ${version}: ${license}\n${RULE}\n`;
      return [head, ...texts.map((text) => `${text.trim()}\n`)].join('\n');
    })
    .join('\n');
}
