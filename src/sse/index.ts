// The SSE microservice: the stream's way to browsers.
export type { SlowClientPolicy } from './client.ts'
export { type GatewayOptions, sseGateway } from './gateway.ts'
export { fromEvent, fromView, type SseSource } from './source.ts'
