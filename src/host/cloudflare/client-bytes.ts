/**
 * What an isolate holds for its clients: what they have sent and not ended, and bodies of requests.
 * Of all its objects, and of the Worker in front of them where that shares the isolate. It is who
 * comes that gives up, because an object may touch nothing of another's clients.
 */
import { HeldBytes } from '../../base/held-bytes.ts'
import { LIMITS } from '../../base/limits.ts'

export const clientBytes: HeldBytes = new HeldBytes(LIMITS.isolateClientBytesMax, 'who comes')
