// The SSE microservice: the stream's way to browsers.
export type { SlowClientPolicy } from './client.ts'
export { declaredGateway } from './declared.ts'
export { type GatewayOptions, sseGateway } from './gateway.ts'
export { gatewayKind } from './kind.ts'
export {
  fromEvent,
  fromStream,
  fromTable,
  fromView,
  type SourceOptions,
  type SseSource,
  type StreamSourceOptions,
  type TableRow,
} from './source.ts'
