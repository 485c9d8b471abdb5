/**
 * The templates that stores stand on. A store is a difference from exactly one template, and a
 * build of another engine brings another one. So the directory keeps each template that any store
 * was made on, and an isolate fetches it when such a store is opened.
 */
import { gunzipSync, gzipSync } from 'node:zlib'
import { LIMITS } from '../../base/limits.ts'
import { Template } from '../../store/template.ts'
import type { DirectoryObject } from './directory-object.ts'
import { theIsolate } from './isolate.ts'

/** Of the directory, what is needed here. */
export type TemplateKeeper = Pick<
  DurableObjectStub<DirectoryObject>,
  'hasTemplate' | 'keepTemplate' | 'template'
>

/** That this build's template is kept is known in this isolate. */
let isKept = false

/** Keeps this build's template, if nobody has. To be awaited before a store is made. */
export async function keepTemplate(keeper: TemplateKeeper): Promise<void> {
  if (isKept) return
  const { template } = theIsolate().engine
  // A tenth of a second once per build: who makes the next tenant finds it there.
  if (!(await keeper.hasTemplate(template.id))) {
    await keeper.keepTemplate(template.id, gzipSync(template.serialize()))
  }
  isKept = true
}

/**
 * Has the template of a store in memory, if there is one to be had. To be awaited before the store
 * is opened, which says what is missing otherwise.
 */
export async function fetchTemplate(id: string, keeper: TemplateKeeper): Promise<void> {
  const { engine, earlierTemplates } = theIsolate()
  if (id === engine.template.id || earlierTemplates.has(id)) return
  const packed = await keeper.template(id)
  if (!packed) return
  const bytes = gunzipSync(packed)
  earlierTemplates.set(id, { template: Template.parse(bytes), bytes: bytes.length })
  for (const oldest of earlierTemplates.keys()) {
    if (earlierTemplates.size <= LIMITS.isolateTemplatesMax) break
    earlierTemplates.delete(oldest)
  }
}
