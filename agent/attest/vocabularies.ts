import type { Config } from '../config/config.ts';
import { dockerVocabulary } from './engine/docker-vocabulary.ts';
import { k8sVocabulary } from './k8s/k8s-vocabulary.ts';
import { systemdVocabulary } from './systemd/systemd-vocabulary.ts';
import { unixVocabulary } from './unix/unix-vocabulary.ts';
import type { Vocabulary } from './vocabulary.ts';
import { joinVocabularies } from './vocabulary.ts';

/** What the attestors of an agent say that is configured like this, those that are switched off among them. */
export function vocabularyOf({ docker, k8s, podman, systemd, unix }: Config['attestors']): Vocabulary {
  return joinVocabularies([
    unixVocabulary(unix),
    dockerVocabulary({ docker, podman }),
    k8sVocabulary(k8s),
    systemdVocabulary(systemd),
  ]);
}
