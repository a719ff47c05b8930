// The children of a benchmark: started, asked, stopped.
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'

export class Child implements AsyncDisposable {
  readonly #process: ChildProcess
  private constructor(child: ChildProcess) {
    this.#process = child
  }

  static async start(module: string, role: string, url: string): Promise<Child> {
    const child = fork(join(import.meta.dirname, 'child.ts'), [module, role, url], {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      execArgv: ['--conditions=myelin-source', '--no-warnings'],
      env: { ...process.env, MYELIN_LOG: process.env.BLOG ?? 'fatal', NODE_ENV: 'production' },
    })
    const failed = once(child, 'exit').then(() => {
      throw new Error(`${module} ${role} ended before it was ready`)
    })
    await Promise.race([once(child, 'message'), failed])
    return new Child(child)
  }

  ask<Answer>(params: unknown): Promise<Answer> {
    const child = this.#process
    return new Promise((resolve, reject) => {
      const died = (code: number | null, signal: string | null) =>
        reject(new Error(`a process of the benchmark died (${signal ?? code})`))
      child.once('exit', died)
      child.once('message', (answer) => {
        child.off('exit', died)
        resolve(answer as Answer)
      })
      child.send(params as object)
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return
    const gone = once(this.#process, 'exit')
    this.#process.kill('SIGKILL')
    await gone
  }
}
