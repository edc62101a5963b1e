/**
 * What the one who broadcasts and a node say to each other: JSON by the standard input and output of a step. A step passes on a node's
 * output in pieces of about a thousand bytes, between which there may be those of others; so what a node says goes in short lines that
 * each name the node. Pure.
 */
import type { DeployOptions, DeployResult } from '../deploy/deploy.js'

/** A folder on local disk of a node. */
export interface Place {
  readonly path: string
  readonly freeBytes: number
}

/** How it ended on a node. */
export type NodeResult =
  | {
      readonly status: DeployResult['method']
      readonly prefix: string
      readonly files: number
      readonly bytes: number
      /** Of the archive, to write them. */
      readonly readBytes: number
      readonly seconds: number
      /** The copy of the archive that is kept. */
      readonly archive?: string
      readonly warnings: readonly string[]
    }
  | {
      readonly status: 'failed'
      /** An error code, and what it says. */
      readonly code: string
      readonly message: string
      readonly hint?: string
      readonly warnings: readonly string[]
    }

export type FromNode =
  /** `step`: the number of the step. */
  | {
      readonly is: 'ready'
      readonly step: string
      readonly places: readonly Place[]
      readonly rejected: readonly string[]
    }
  /** It is alive. */
  | { readonly is: 'working' }
  /** `left`: a file that could not be taken away. */
  | { readonly is: 'done'; readonly result: NodeResult; readonly left?: string }
  /** Said by the shell around it, when the program did not run or was killed. */
  | { readonly is: 'ended'; readonly status: number }

/** Options of `deploy` that a node can be told. */
export type NodeDeploy = Omit<DeployOptions, 'archive' | 'signal' | 'reporter' | 'dryRun'>

export interface Copy {
  /** Where it arrives, and its name once it is complete. */
  readonly part: string
  readonly path: string
}

export type ToNode =
  /** A copy will arrive: it is the node's to take away, whatever happens. */
  | { readonly is: 'expect'; readonly copy: Copy }
  /** `size` and `sha256` are those of the copy. */
  | {
      readonly is: 'go'
      readonly archive: string
      readonly deploy: NodeDeploy
      readonly copied?: { readonly size: number; readonly sha256: string; readonly keep: boolean }
    }

/** Characters of JSON to a line. */
const most = 700
/** `@node+…` goes on, `@node.…` is the last line. */
const shape = /^@([\w.-]+)([+.])(.*)$/

export function linesFor(node: string, said: FromNode): string {
  const text = JSON.stringify(said).replace(
    /[\u007f-\uffff]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
  const lines: string[] = []
  for (let at = 0; at < text.length; at += most)
    lines.push(`@${node}${at + most < text.length ? '+' : '.'}${text.slice(at, at + most)}\n`)
  return lines.join('')
}

/** Puts together what nodes say; `hear` for each whole message, `other` for each line that is none, such as what a task prolog prints. */
export function listener(
  hear: (node: string, said: FromNode) => void,
  other: (line: string) => void,
): (chunk: string) => void {
  const parts = new Map<string, string>()
  let rest = ''
  return (chunk) => {
    const lines = (rest + chunk).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) {
      const [, node = '', mark, text = ''] = shape.exec(line) ?? []
      if (mark === undefined) {
        if (line !== '') other(line)
        continue
      }
      const whole = (parts.get(node) ?? '') + text
      parts.set(node, mark === '+' ? whole : '')
      if (mark === '+') continue
      const said = parsed(whole)
      if (said === null) other(line)
      else hear(node, said)
    }
  }
}

function parsed(text: string): FromNode | null {
  try {
    return JSON.parse(text) as FromNode
  } catch {
    return null // Not one of ours: a program's line that looks like it.
  }
}
