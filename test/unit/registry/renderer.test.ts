import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseSelector } from '../../../agent/kernel/selector.ts';
import { isPathSegment, parseSpiffeId } from '../../../agent/kernel/spiffe-id.ts';
import type { Entry } from '../../../agent/registry/entry.ts';
import { EntryIndex } from '../../../agent/registry/entry-index.ts';
import type { Misfit } from '../../../agent/registry/renderer.ts';
import type { EntryTemplate } from '../../../agent/registry/written-entry.ts';
import { entryOf, selectorsOf, templateOf } from './entries.ts';

const NOW = 1000;
const CLUSTER = templateOf('id: cluster', 'spiffe_id: spiffe://example.org/ns/{{k8s.ns}}/sa/{{k8s.sa}}');
const LABEL = templateOf('id: label', 'spiffe_id: "spiffe://example.org/v1.{{docker.label:app}}.x"');

function rendered(template: EntryTemplate, ...selectors: readonly string[]): Entry {
  const entry = template.renderer.render(selectorsOf(...selectors));
  if (entry === undefined || 'entryId' in entry) throw new Error(`nothing came of it: ${JSON.stringify(entry)}`);
  return entry;
}

function misfit(template: EntryTemplate, ...selectors: readonly string[]): Misfit | undefined {
  const found = template.renderer.render(selectorsOf(...selectors));
  return found !== undefined && 'entryId' in found ? found : undefined;
}

describe('what a template gives', () => {
  it('is an entry with the values of the process, and what it took them from', () => {
    const template = templateOf(
      'id: web',
      'spiffe_id: "spiffe://example.org/ns/{{k8s.ns}}/app-{{k8s.pod-label:app}}"',
      'selectors: [ "unix:uid:1000", "k8s:ns:a" ]',
      'owner: me',
      'x509_svid_ttl: 10m',
      'dns_names: [ "{{k8s.pod-name}}.{{k8s.ns}}.Svc", "{{k8s.ns}}.a.svc", a.a.svc ]',
    );
    const own = [
      'unix:uid:1000',
      'unix:gid:1',
      'k8s:ns:a',
      'k8s:pod-label:app:Web_1',
      'k8s:pod-name:web-7',
      'k8s:pod-label:x:y',
    ];
    expect(rendered(template, ...own)).toEqual(
      entryOf('web', ['unix:uid:1000', 'k8s:ns:a', 'k8s:pod-label:app:Web_1', 'k8s:pod-name:web-7'], {
        spiffeId: parseSpiffeId('spiffe://example.org/ns/a/app-Web_1'),
        owner: 'me',
        x509SvidTtl: 600_000,
        dnsNames: ['web-7.a.svc', 'a.a.svc'],
        source: 't.yaml:2',
      }),
    );
    expect(Object.isFrozen(rendered(template, ...own))).toBe(true);
  });

  it('is the same object for the same values, whatever else is true of the process', () => {
    const first = rendered(CLUSTER, 'k8s:ns:a', 'k8s:sa:b', 'unix:uid:1');
    expect(rendered(CLUSTER, 'k8s:sa:b', 'unix:uid:2', 'k8s:ns:a')).toBe(first);
    expect(CLUSTER.renderer.named('spiffe://example.org/ns/a/sa/b')).toBe(first);
    expect(rendered(CLUSTER, 'k8s:ns:a', 'k8s:sa:c')).not.toBe(first);
  });

  it('is kept for the newest few thousand values', () => {
    const first = rendered(CLUSTER, 'k8s:ns:a', 'k8s:sa:b');
    const second = rendered(CLUSTER, 'k8s:ns:a', 'k8s:sa:c');
    for (let other = 0; other < 4095; other += 1) {
      rendered(CLUSTER, 'k8s:ns:other', `k8s:sa:${other}`);
      expect(rendered(CLUSTER, 'k8s:ns:a', 'k8s:sa:b')).toBe(first);
    }
    expect(rendered(CLUSTER, 'k8s:ns:a', 'k8s:sa:c')).not.toBe(second);
    expect(rendered(CLUSTER, 'k8s:ns:a', 'k8s:sa:c')).toEqual(second);
  });

  it('is nothing, and nothing to tell, without a value', () => {
    expect(CLUSTER.renderer.render(selectorsOf('k8s:ns:a', 'k8s:sale:b', 'unix:user:k8s:sa:b'))).toBeUndefined();
    expect(LABEL.renderer.render(selectorsOf('docker:label:apple:x', 'docker:label:App:x'))).toBeUndefined();
  });

  it('is no guess where there are two values', () => {
    expect(misfit(CLUSTER, 'k8s:ns:a', 'k8s:ns:b', 'k8s:sa:c')).toEqual({
      entryId: 'cluster',
      kind: 'several values',
      message: '{{k8s.ns}} is both "a" and "b"',
    });
  });

  it.each([
    ['a/b'],
    ['../admin'],
    ['..'],
    ['.'],
    [''],
    ['a b'],
    ['a%2Fb'],
    ['ä'],
    ['a\n'],
    ['a\0b'],
    ['{{k8s.sa}}'],
    ['x:y'],
    ['a?b#c'],
    ['a\u202eb'],
  ])('is nothing with the value %j, which nothing is put in place of', (value) => {
    const found = misfit(LABEL, `docker:label:app:${value}`);
    expect(found).toMatchObject({ entryId: 'label', kind: 'unusable value' });
    expect(found?.message).toMatch(
      /^\{\{docker\.label:app\}\} is ".*"; in a SPIFFE ID it may be A-Z, a-z, 0-9, "\.", "-" and "_", and not "\." or "\.\."$/,
    );
  });

  it('is nothing with a value that makes the identity too long', () => {
    const room = 2048 - 'spiffe://example.org/v1..x'.length;
    expect(rendered(LABEL, `docker:label:app:${'a'.repeat(room)}`).spiffeId).toHaveLength(2048);
    const found = misfit(LABEL, `docker:label:app:${'a'.repeat(room + 1)}`);
    expect(found?.kind).toBe('unusable value');
    expect(found?.message).toMatch(/is longer than 2048 bytes$/);
    expect(found?.message.length).toBeLessThan(300);
  });

  it.each([
    ['web.evil', 'in a DNS name it may be a-z, 0-9 and "-"'],
    ['Web', 'in a DNS name it may be a-z, 0-9 and "-"'],
    ['*', 'in a DNS name it may be a-z, 0-9 and "-"'],
    ['web-', 'is no DNS name'],
    ['a'.repeat(64), 'is no DNS name'],
  ])('is nothing with the DNS label %s, the identity neither', (value, message) => {
    const template = templateOf(
      'id: dns',
      'spiffe_id: "spiffe://example.org/{{k8s.ns}}"',
      'dns_names: [ "{{docker.label:app}}.svc" ]',
    );
    const found = misfit(template, 'k8s:ns:a', `docker:label:app:${value}`);
    expect(found).toMatchObject({ entryId: 'dns', kind: 'unusable value' });
    expect(found?.message).toContain(message);
  });
});

describe('an identity of a template', () => {
  const anything = fc.oneof(
    fc.string(),
    fc.string({ unit: fc.constantFrom('a', 'b', '-', '.', '/', ':', '{', '}', '\0'), maxLength: 6 }),
  );

  it('is one for one list of values, and says them', () => {
    fc.assert(
      fc.property(anything, anything, anything, anything, (ns, sa, otherNs, otherSa) => {
        const one = CLUSTER.renderer.render(selectorsOf(`k8s:ns:${ns}`, `k8s:sa:${sa}`));
        const two = CLUSTER.renderer.render(selectorsOf(`k8s:ns:${otherNs}`, `k8s:sa:${otherSa}`));
        if (one === undefined || two === undefined) throw new Error('all values are there');
        const fits = isPathSegment(ns) && isPathSegment(sa);
        expect('entryId' in one).toBe(!fits);
        if ('entryId' in one || 'entryId' in two) return;
        expect(parseSpiffeId(one.spiffeId)).toBe(`spiffe://example.org/ns/${ns}/sa/${sa}`);
        expect(one.spiffeId === two.spiffeId).toBe(ns === otherNs && sa === otherSa);
        expect(one === two).toBe(ns === otherNs && sa === otherSa);
        expect(CLUSTER.renderer.named(one.spiffeId)).toBe(one);
      }),
      { numRuns: 5000 },
    );
  });

  it('is known again, and no other is', () => {
    const segment = fc.string({ unit: fc.constantFrom('a', 'v', '1', '.', 'x', '-'), minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(segment, (text) => {
        const named = LABEL.renderer.named(`spiffe://example.org/${text}`);
        const value = /^v1\.(.+)\.x$/.exec(text)?.[1];
        const fits = value !== undefined && isPathSegment(value);
        expect(named?.selectors).toEqual(fits ? [`docker:label:app:${value}`] : undefined);
      }),
      { numRuns: 5000 },
    );
    expect(CLUSTER.renderer.named('spiffe://example.org/ns/a/sa')).toBeUndefined();
    expect(CLUSTER.renderer.named('spiffe://example.org/ns/a/sa/b/c')).toBeUndefined();
    expect(CLUSTER.renderer.named('spiffe://example.org/ns//sa/b')).toBeUndefined();
    expect(CLUSTER.renderer.named('spiffe://other.org/ns/a/sa/b')).toBeUndefined();
    const twice = templateOf('id: t', 'spiffe_id: "spiffe://example.org/{{k8s.ns}}/{{k8s.ns}}"');
    expect(twice.renderer.named('spiffe://example.org/a/b')).toBeUndefined();
    expect(twice.renderer.named('spiffe://example.org/a/a')?.selectors).toEqual(['k8s:ns:a']);
  });

  it('tells an entry without the DNS names of values that it does not have, which is not taken for the whole one', () => {
    const template = templateOf(
      'id: dns',
      'spiffe_id: "spiffe://example.org/{{k8s.ns}}"',
      'dns_names: [ "{{docker.label:app}}.svc", "{{k8s.ns}}.svc" ]',
    );
    expect(template.renderer.named('spiffe://example.org/a')).toMatchObject({
      dnsNames: ['a.svc'],
      selectors: ['k8s:ns:a'],
    });
    expect(misfit(template, 'k8s:ns:a', 'docker:label:app:')).toBeDefined();
    expect(rendered(template, 'k8s:ns:a', 'docker:label:app:web').dnsNames).toEqual(['web.svc', 'a.svc']);
  });
});

describe('matching with templates', () => {
  const index = new EntryIndex([
    CLUSTER,
    templateOf(
      'id: uid',
      'spiffe_id: "spiffe://example.org/u/{{unix.user}}"',
      'selectors: [ "unix:uid:1" ]',
      'hint: h',
    ),
    entryOf('z', ['unix:uid:1'], { hint: 'h' }),
    entryOf('a', ['k8s:ns:a']),
  ]);

  function match(...selectors: readonly string[]) {
    const { entries, misfits } = index.match(selectorsOf(...selectors), NOW);
    return [entries.map(({ id, spiffeId }) => `${id} ${spiffeId}`), misfits.map(({ entryId }) => entryId)];
  }

  it('entitles whoever has the selectors and the values, in order of the ids', () => {
    expect(match('k8s:ns:a', 'k8s:sa:b', 'unix:uid:1', 'unix:user:me')).toEqual([
      ['a spiffe://example.org/a', 'cluster spiffe://example.org/ns/a/sa/b', 'uid spiffe://example.org/u/me'],
      [],
    ]);
    expect(match('k8s:ns:a', 'unix:uid:2', 'unix:user:you')).toEqual([['a spiffe://example.org/a'], []]);
    expect(match()).toEqual([[], []]);
  });

  it('leaves out a template that does not fit, whose hint is then free, and tells it', () => {
    expect(match('k8s:sa:x y', 'k8s:ns:b', 'unix:uid:1', 'unix:user:CORP\\me')).toEqual([
      ['z spiffe://example.org/z'],
      ['cluster', 'uid'],
    ]);
  });

  it('gives the same objects while nothing has changed', () => {
    const own = selectorsOf('k8s:ns:a', 'k8s:sa:b');
    const [first, second] = index.match(own, NOW).entries;
    expect(index.match(own, NOW).entries.map((entry) => entry === first || entry === second)).toEqual([true, true]);
  });

  it('finds an entry by its id', () => {
    expect(index.get('cluster')).toBe(CLUSTER);
    expect(['', 'b', 'zz', 'A'].map((id) => index.get(id))).toEqual([undefined, undefined, undefined, undefined]);
    expect(['a', 'uid', 'z'].map((id) => index.get(id)?.id)).toEqual(['a', 'uid', 'z']);
  });

  it('has another digest for another template', () => {
    const digestOf = (...lines: readonly string[]) => new EntryIndex([templateOf('id: a', ...lines)]).digest;
    const base = digestOf('spiffe_id: "spiffe://example.org/{{k8s.ns}}"');
    expect(digestOf('spiffe_id: "spiffe://example.org/{{k8s.sa}}"')).not.toBe(base);
    expect(digestOf('spiffe_id: "spiffe://example.org/{{k8s.ns}}"', 'dns_names: [ "{{k8s.ns}}" ]')).not.toBe(base);
    expect(digestOf('spiffe_id: "spiffe://example.org/{{k8s.ns}}"', 'selectors: []')).toBe(base);
  });

  it('expands no value, whatever stands in it', () => {
    const selectors = fc.array(
      fc.record({
        name: fc.constantFrom('k8s:ns', 'k8s:sa', 'unix:user', 'docker:label:app', 'docker:label:{{k8s.sa}}'),
        value: fc.oneof(fc.constantFrom('{{k8s.sa}}', '{{k8s.ns}}', 'a', '{{', '}}', '{{unix.user}}/x'), fc.string()),
      }),
      { maxLength: 8 },
    );
    fc.assert(
      fc.property(selectors, (written) => {
        const own = new Set(written.map(({ name, value }) => parseSelector(`${name}:${value}`)));
        for (const { selectors: asked, spiffeId } of index.match(own, NOW).entries) {
          expect(asked.every((selector) => own.has(selector))).toBe(true);
          expect(parseSpiffeId(spiffeId)).toBe(spiffeId);
        }
      }),
      { numRuns: 3000 },
    );
  });
});
