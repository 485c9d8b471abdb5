/** What is answered to a statement, whatever has run it. */
import { jsonResult } from '../../../front/http/answers.ts'
import { jsonReaders, readRowObjects } from '../../../front/values.ts'
import type { Ask, JsonBody, Served } from './architecture.ts'

/** @param name of the architecture */
export function servedBody(
  name: string,
  { tenant }: Pick<Ask, 'tenant'>,
  { result, servedBy, notes }: Served,
): JsonBody {
  const rows = readRowObjects(result, jsonReaders)
  return { architecture: name, tenant, servedBy, ...notes, ...jsonResult(result, rows) }
}
