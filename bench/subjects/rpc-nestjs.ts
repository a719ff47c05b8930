// NestJS microservices over NATS. Decorators are called by hand: they are not part of the language yet.
import { loadOf } from './load.ts'
import { request } from './payload.ts'

// biome-ignore lint/suspicious/noExplicitAny: installed on first use, so that there are no types here
const load = (name: string): Promise<any> => import(name)

export async function serve(url: string) {
  await load('reflect-metadata')
  const { Controller, Module } = await load('@nestjs/common')
  const { NestFactory } = await load('@nestjs/core')
  const { MessagePattern, Transport } = await load('@nestjs/microservices')
  class Echo {
    echo(payload: unknown) {
      return payload
    }
  }
  MessagePattern('echo')(Echo.prototype, 'echo', Object.getOwnPropertyDescriptor(Echo.prototype, 'echo'))
  Controller()(Echo)
  class App {}
  Module({ controllers: [Echo] })(App)
  const options = { transport: Transport.NATS, options: { servers: [url], queue: 'q' }, logger: false }
  const app = await NestFactory.createMicroservice(App, options)
  await app.listen()
}

export async function call(url: string) {
  const { ClientProxyFactory, Transport } = await load('@nestjs/microservices')
  const { firstValueFrom } = await load('rxjs')
  const proxy = ClientProxyFactory.create({ transport: Transport.NATS, options: { servers: [url] } })
  await proxy.connect()
  return loadOf(() => firstValueFrom(proxy.send('echo', request)))
}
