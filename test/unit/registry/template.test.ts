import { describe, expect, it } from 'vitest';
import { identityOf } from '../../../agent/registry/written-entry.ts';
import { templateOf } from './entries.ts';

const ID = 'id: cluster';
const ENTRY = [ID, 'spiffe_id: spiffe://example.org/ns/{{k8s.ns}}/sa/{{k8s.sa}}'] as const;

function spiffeId(text: string) {
  return () => templateOf(ID, `spiffe_id: ${JSON.stringify(text)}`);
}

describe('a template', () => {
  it('is shown as it is written, and needs no selectors where the identity asks for values', () => {
    const template = templateOf(...ENTRY, 'dns_names: [ "{{ k8s.pod-name }}.{{k8s.ns}}.svc", Fixed.example.org ]');
    expect(template).toMatchObject({ id: 'cluster', selectors: [], hint: '', source: 't.yaml:2' });
    expect(Object.isFrozen(template)).toBe(true);
    const { dnsNames, spiffeId: id } = identityOf(template);
    expect(id).toBe('spiffe://example.org/ns/{{k8s.ns}}/sa/{{k8s.sa}}');
    expect(dnsNames).toEqual(['{{ k8s.pod-name }}.{{k8s.ns}}.svc', 'fixed.example.org']);
    expect(template.renderer.sources.map(({ prefix }) => prefix)).toEqual(['k8s:ns:', 'k8s:sa:', 'k8s:pod-name:']);
  });

  it.each([
    ['{{unix.user}}', 'unix:user:'],
    ['{{ unix.uid }}', 'unix:uid:'],
    ['{{k8s.pod-label:app.kubernetes.io/name}}', 'k8s:pod-label:app.kubernetes.io/name:'],
    ['{{docker.label:com.example.service}}', 'docker:label:com.example.service:'],
    ['{{docker.env:SERVICE}}', 'docker:env:SERVICE='],
  ])('takes the value of %s from what begins with %s', (placeholder, prefix) => {
    const { renderer } = templateOf(ID, `spiffe_id: "spiffe://example.org/v1-${placeholder}.x"`);
    expect(renderer.sources.map((source) => source.prefix)).toEqual([prefix]);
  });
});

describe('a template is refused when it is loaded', () => {
  const place = 't.yaml:3:16: entries[0].spiffe_id: ';
  it.each<[string, string, string]>([
    [
      'of an unknown type',
      '/{{dokcer.label:a}}',
      '{{dokcer.label:a}} has the unknown type dokcer; did you mean docker?',
    ],
    [
      'of a name that nobody says',
      '/{{k8s.namespace}}',
      '{{k8s.namespace}} asks for namespace, which k8s does not say; allowed are ns, sa, pod-name, pod-label',
    ],
    [
      'of a name that is no name',
      '/{{k8s.constructor}}',
      '{{k8s.constructor}} asks for constructor, which k8s does not say; allowed are ns, sa, pod-name, pod-label',
    ],
    [
      'of a name that has several values',
      '/{{k8s.pod-image}}',
      '{{k8s.pod-image}} may have several values of one process, and none of them is the right one; allowed are ns, sa, pod-name, pod-label',
    ],
    [
      'of supplementary groups',
      '/{{unix.supplementary_gid}}',
      '{{unix.supplementary_gid}} may have several values of one process, and none of them is the right one; allowed are uid, user, gid, group, sha256',
    ],
    [
      'of values that no path may have',
      '/{{unix.path}}',
      '{{unix.path}} has values like /usr/bin/payments, which cannot stand in an identity; allowed are uid, user, gid, group, sha256',
    ],
    ['without the key', '/{{k8s.pod-label}}', '{{k8s.pod-label}} has no key; write {{k8s.pod-label:KEY}}'],
    ['with a key too many', '/{{k8s.sa:x}}', '{{k8s.sa:x}} has a key, and k8s:sa has none; leave it out'],
  ])('%s', (_, path, message) => {
    expect(spiffeId(`spiffe://example.org${path}`)).toThrow(`${place}${message}`);
  });

  it.each<[string, string, RegExp]>([
    ['a brace alone', '/{k8s.sa}', /has a brace that belongs to no placeholder; write \{\{type\.name\}\}/],
    ['no end', '/{{k8s.sa', /has a brace that belongs to no placeholder/],
    ['no beginning', '/k8s.sa}}', /has a brace that belongs to no placeholder/],
    ['one brace too many', '/{{{k8s.sa}}}', /has a brace that belongs to no placeholder/],
    ['one in another', '/{{k8s.{{k8s.sa}}}}', /has a brace that belongs to no placeholder/],
    ['nothing in it', '/{{}}', /"\{\{\}\}" is no placeholder; write \{\{type\.name\}\}/],
    ['no name', '/{{k8s}}', /"\{\{k8s\}\}" is no placeholder/],
    ['the way that Go templates are written', '/{{ .PodMeta.Name }}', /"\{\{ \.PodMeta\.Name \}\}" is no placeholder/],
    [
      'a colon in the key, behind which another value could go on',
      '/{{docker.label:a:b}}',
      /is no placeholder; .* without ":" and "="/,
    ],
    ['an equals sign in the key', '/{{docker.env:A=b}}', /is no placeholder/],
    ['a line break in the key', '/{{docker.label:a\nb}}', /"\{\{docker\.label:a\\nb\}\}" is no placeholder/],
    ['an empty key', '/{{docker.label:}}', /is no placeholder/],
    [
      'two in one segment',
      '/{{k8s.ns}}-{{k8s.sa}}',
      /has two placeholders side by side, so that different values could give one and the same/,
    ],
    ['two without anything between', '/{{k8s.ns}}{{k8s.sa}}', /has two placeholders side by side/],
    ['an empty segment', '//{{k8s.ns}}', /has an empty path segment/],
    ['a slash at the end', '/{{k8s.ns}}/', /ends with a slash/],
    ['a segment that climbs', '/../{{k8s.ns}}', /has the path segment "\.\."/],
    ['what no path may have', '/ns=/{{k8s.ns}}', /has a path character other than/],
    ['no room for a value', `/${'a'.repeat(2040)}/{{k8s.ns}}`, /is longer than 2048 bytes/],
  ])('that has %s', (_, path, message) => {
    expect(spiffeId(`spiffe://example.org${path}`)).toThrow(message);
    expect(spiffeId(`spiffe://example.org${path}`)).toThrow(place);
  });

  it.each([
    'spiffe://{{k8s.ns}}/a',
    'spiffe://{{k8s.ns}}.example.org/a',
    'spiffe://{{k8s.ns}}',
    '{{k8s.ns}}://example.org/a',
    'spiffe:{{k8s.ns}}/example.org/a',
  ])('that has a placeholder before the path: %s', (id) => {
    expect(spiffeId(id)).toThrow('has a placeholder before its path; write the trust domain out');
  });

  it('of another trust domain', () => {
    expect(spiffeId('spiffe://other.org/{{k8s.ns}}')).toThrow(
      `${place}is of the trust domain other.org; this agent issues in example.org only: write spiffe://example.org/{{k8s.ns}}`,
    );
  });

  it('without selectors, when only its DNS names ask for values: the identity would be everybody’s', () => {
    const lines = [ID, 'spiffe_id: spiffe://example.org/web', 'dns_names: [ "{{k8s.pod-name}}.web" ]'];
    expect(() => templateOf(...lines)).toThrow('selectors: must have at least 1 item, found 0');
    expect(templateOf(...lines, 'selectors: [ "k8s:ns:web" ]').selectors).toEqual(['k8s:ns:web']);
  });

  it.each([
    ['"{{k8s.pod-name}}-{{k8s.ns}}.svc"', 'has two placeholders side by side'],
    ['"{{k8s.pod-image}}.svc"', '{{k8s.pod-image}} may have several values'],
    ['"-{{k8s.ns}}"', 'is no DNS name'],
    ['"*{{k8s.ns}}.a.b"', 'has a "*" that is not its whole first label'],
    ['"*.{{k8s.ns}}"', 'is too wide a wildcard'],
    ['"{{k8s.ns}}.1"', 'ends in a number'],
    ['"{{k8s.ns}}."', 'ends with a dot'],
  ])('with the DNS name %s', (name, message) => {
    expect(() => templateOf(...ENTRY, `dns_names: [ ${name} ]`)).toThrow(message);
    expect(() => templateOf(...ENTRY, `dns_names: [ ${name} ]`)).toThrow('t.yaml:4:18: entries[0].dns_names[0]: ');
  });

  it('that has a placeholder in an audience, where it would stay as it is', () => {
    expect(() => templateOf(...ENTRY, 'audiences: [ db, "{{k8s.ns}}.db" ]')).toThrow(
      'entries[0].audiences[1]: "{{k8s.ns}}.db" has a placeholder, which only spiffe_id and dns_names may have',
    );
  });

  it.each(['hint', 'owner'])('that has a placeholder in %s, where it would stay as it is', (key) => {
    expect(() => templateOf(...ENTRY, `${key}: "{{k8s.ns}}"`)).toThrow(
      `entries[0].${key}: "{{k8s.ns}}" has a placeholder, which only spiffe_id and dns_names may have`,
    );
  });
});
