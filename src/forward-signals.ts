/** While a program that was started has the terminal, the signals this process gets are meant for it. */
import { isatty } from 'node:tty'

/** Signals that mean the program, not us. */
const forwarded = ['SIGTERM', 'SIGHUP', 'SIGUSR1', 'SIGUSR2', 'SIGCONT', 'SIGWINCH'] as const
/** A terminal sends these to the program too, as it is in the same process group; a second one would be one too many. */
const fromTerminal = ['SIGINT', 'SIGQUIT'] as const

/** Hands every such signal to `hand` until the function it returns is called. */
export function forwardSignals(hand: (name: NodeJS.Signals) => void): () => void {
  const pass = (): void => undefined
  const atTerminal = [0, 1, 2].some((descriptor) => isatty(descriptor))
  const handlers = [
    ...forwarded.map((name) => [name, hand] as const),
    ...fromTerminal.map((name) => [name, atTerminal ? pass : hand] as const),
  ]
  for (const [name, handler] of handlers) process.on(name, handler)
  return () => {
    for (const [name, handler] of handlers) process.off(name, handler)
  }
}
