import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { originOf } from '../../../deploy/release/origin.ts';
import { DockerEngine } from '../docker-engine.ts';
import { buildImage, ROOT } from '../mayfly-release.ts';

const NAME = `mayfly:${originOf(ROOT).version}`;
/** What containerd calls it: where the chart looks for it, unless told otherwise. */
export const AGENT_IMAGE: string = `docker.io/library/${NAME}`;

/** Builds the agent's image by the Dockerfile, and writes it as `docker save` does. @param scratch a folder of its own */
export async function saveAgentImage(to: string, scratch: string): Promise<void> {
  await using engine = await DockerEngine.start();
  rmSync(scratch, { recursive: true, force: true });
  await buildImage(engine, NAME, join(scratch, 'context'));
  await engine.docker(['save', '--output', to, NAME]);
}
