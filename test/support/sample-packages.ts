/** The packages of the sample environment: real programs compiled with a 255-byte placeholder prefix, scripts, texts, links. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** As conda-build makes them: a long folder, filled up to 255 bytes. */
export const placeholder: string = '/opt/conda-bld/sample_1700000000000/_h_env'.padEnd(255, '_placehold')

export interface PackageFile {
  readonly path: string
  readonly content?: Buffer
  readonly mode?: number
  /** How the placeholder stands in it. */
  readonly placeholder?: 'text' | 'binary'
  /** Text of a symlink. */
  readonly link?: string
  /** The file of the same package, earlier in the list, that this one is another name of. */
  readonly hardlink?: string
}

export interface Package {
  readonly name: string
  readonly version: string
  readonly noarch?: 'python' | 'generic'
  readonly entryPoints?: readonly string[]
  readonly files: readonly PackageFile[]
}

const librarySource = `
extern "C" const char *sample_home() { return PREFIX "/lib"; }
extern "C" const char16_t *sample_wide() { return WIDE(u, PREFIX) u"/share"; }
extern "C" const char32_t *sample_wider() { return WIDE(U, PREFIX) U"/var:" WIDE(U, PREFIX) U"/tmp"; }
`
const programSource = `
#include <cstdio>
extern "C" const char *sample_home();
extern "C" const char16_t *sample_wide();
extern "C" const char32_t *sample_wider();
static const char *path = PREFIX "/bin:" PREFIX "/lib";  // ends otherwise than every other string: linkers share tails
int main() {
  std::printf("prefix=%s\\npath=%s\\nhome=%s\\nwide=", PREFIX, path, sample_home());
  for (const char16_t *c = sample_wide(); *c; ++c) std::putchar(static_cast<char>(*c));
  std::printf("\\nwider=");
  for (const char32_t *c = sample_wider(); *c; ++c) std::putchar(static_cast<char>(*c));
  std::putchar('\\n');
  std::FILE *data = std::fopen(PREFIX "/share/sample/data.txt", "r");
  if (!data) { std::perror(PREFIX "/share/sample/data.txt"); return 1; }
  char line[4096];
  while (std::fgets(line, sizeof line, data)) std::printf("data=%s", line);
  return std::fclose(data);
}
`
/** Stands for an interpreter: says who it is and what it was given. */
const interpreterSource = `
#include <cstdio>
int main(int argc, char **argv) {
  std::printf("interpreter=%s/bin/python3.11\\n", PREFIX);
  for (int i = 1; i < argc; ++i) std::printf("argument=%s\\n", argv[i]);
  return 0;
}
`

/** Compiles with g++; `more` are its further arguments, with `PREFIX` replaced. */
export function compile(source: string, prefix: string, ...more: string[]): Buffer {
  const folder = mkdtempSync(join(tmpdir(), 'conda-deploy-compile-'))
  try {
    writeFileSync(join(folder, 'source.cc'), source)
    const defines = [`-DPREFIX="${prefix}"`, '-DWIDE_(kind,text)=kind##text', '-DWIDE(kind,text)=WIDE_(kind,text)']
    const common = ['-std=c++17', '-O1', '-s', '-Wl,--build-id=none', ...defines, '-o', 'out', 'source.cc']
    execFileSync('g++', [...common, ...more.map((argument) => argument.replaceAll('PREFIX', prefix))], { cwd: folder })
    return readFileSync(join(folder, 'out'))
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** As a static library keeps it: an object file, not linked, in an ar archive. */
function compileArchive(): Buffer {
  const folder = mkdtempSync(join(tmpdir(), 'conda-deploy-archive-'))
  try {
    writeFileSync(join(folder, 'sample.o'), compile(librarySource, placeholder, '-c'))
    execFileSync('ar', ['rcD', 'libsample.a', 'sample.o'], { cwd: folder })
    return readFileSync(join(folder, 'libsample.a'))
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** A library whose RPATH names the prefix, as one built by pip inside the environment has it. */
export const compileLibrary = (prefix: string): Buffer =>
  compile(librarySource, prefix, '-shared', '-fPIC', '-Wl,-rpath,PREFIX/lib')

function compileProgram(library: Buffer): Buffer {
  const folder = mkdtempSync(join(tmpdir(), 'conda-deploy-link-'))
  try {
    mkdirSync(join(folder, 'lib'))
    writeFileSync(join(folder, 'lib/libsample.so'), library)
    return compile(programSource, placeholder, `-L${join(folder, 'lib')}`, '-lsample', '-Wl,-rpath,PREFIX/lib')
  } finally {
    rmSync(folder, { recursive: true })
  }
}

const text = (content: string): Buffer => Buffer.from(content)

/** The header of a .pyc that CPython 3.11 would accept for a source of that time and size; the code after it is not real. */
export function bytecode(mtime: number, size: number, code: string): Buffer {
  const head = Buffer.alloc(16)
  head.writeUInt32LE(0x0a0d0da7, 0)
  head.writeUInt32LE(mtime, 8)
  head.writeUInt32LE(size, 12)
  return Buffer.concat([head, text(code)])
}

/** mtime of everything in the packages, so that the sample does not depend on when it was made. */
export const packageTime = 1_600_000_000

function samplePackage(): Package {
  const library = compileLibrary(placeholder)
  const lib = 'lib/python3.11'
  const config = `build_time_vars = {'prefix': '${placeholder}',\n 'LIBDIR': '${placeholder}/lib'}\n`
  const module = 'def answer():\n    return 42\n'
  return {
    name: 'sample',
    version: '1.0',
    files: [
      { path: 'bin/hello', content: compileProgram(library), mode: 0o755, placeholder: 'binary' },
      { path: 'lib/libsample.so', content: library, mode: 0o755, placeholder: 'binary' },
      { path: 'lib/libsample.so.1', link: 'libsample.so' },
      { path: 'lib/libsample.a', content: compileArchive(), placeholder: 'binary' },
      { path: 'bin/hello-twin', hardlink: 'bin/hello' },
      { path: 'lib/terminfo', link: '../share/terminfo' },
      { path: 'share/terminfo/x/xterm', content: text('terminal\0description\0') },
      { path: 'share/sample/data.txt', content: text('forty-two\n') },
      { path: 'share/sample/empty', content: text('') },
      { path: 'share/sample/with space/ünïcode.txt', content: text('names are bytes\n') },
      {
        path: 'lib/pkgconfig/sample.pc',
        content: text(`prefix=${placeholder}\nlibdir=${placeholder}/lib\n`),
        placeholder: 'text',
      },
      {
        path: 'include/sample.h',
        content: text(`#define SAMPLE_HOME "${placeholder}/share/sample"\r\n`),
        placeholder: 'text',
      },
      { path: 'etc/conda/env_vars.d/sample.json', content: text('{"SAMPLE_MODE": "it\'s \\"quoted\\""}\n') },
      {
        path: 'bin/report',
        content: text(`#!${placeholder}/bin/python3.11\nprint('report')\n`),
        mode: 0o755,
        placeholder: 'text',
      },
      {
        path: 'bin/show-prefix',
        content: text(`#!/bin/sh\necho "${placeholder}"\n`),
        mode: 0o755,
        placeholder: 'text',
      },
      { path: `${lib}/_sysconfigdata.py`, content: text(config), placeholder: 'text' },
      {
        path: `${lib}/__pycache__/_sysconfigdata.cpython-311.pyc`,
        content: bytecode(packageTime, config.length, config),
      },
      { path: `${lib}/module.py`, content: text(module) },
      {
        path: `${lib}/__pycache__/module.cpython-311.pyc`,
        content: bytecode(packageTime, module.length, `${placeholder}/${lib}/module.py`),
      },
    ],
  }
}

const pythonPackage = (): Package => ({
  name: 'python',
  version: '3.11.2',
  files: [
    { path: 'bin/python3.11', content: compile(interpreterSource, placeholder), mode: 0o755, placeholder: 'binary' },
    { path: 'bin/python', link: 'python3.11' },
  ],
})

const noarchPackage = (): Package => ({
  name: 'tool',
  version: '2.1',
  noarch: 'python',
  entryPoints: ['tool = tool.main:run'],
  files: [
    { path: 'site-packages/tool/__init__.py', content: text('') },
    { path: 'site-packages/tool/main.py', content: text('def run():\n    return 0\n') },
    {
      path: 'site-packages/tool-2.1.dist-info/METADATA',
      content: text('Metadata-Version: 2.1\nName: tool\nVersion: 2.1\n'),
    },
    {
      path: 'share/jupyter/kernels/tool/kernel.json',
      content: text(`{"argv": ["${placeholder}/bin/python", "-m", "tool"]}\n`),
      placeholder: 'text',
    },
  ],
})

const dataPackage = (): Package => ({
  name: 'sample-data',
  version: '2023c',
  noarch: 'generic',
  files: [
    { path: 'share/sample-data/table.csv', content: text('a,b\r\n1,2\r\n') },
    { path: 'share/sample-data/same.csv', hardlink: 'share/sample-data/table.csv' },
    { path: 'share/sample-data/home', content: text(placeholder), placeholder: 'text' },
  ],
})

/** `count` further files, with the sizes of a real environment: half below 4 KiB, one in a thousand above 1 MiB. Seeded. */
function fillerPackage(count: number): Package {
  let state = 42
  const random = (): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
  const words = Array.from({ length: 512 }, () =>
    Math.floor(random() * 2 ** 40)
      .toString(36)
      .slice(0, 2 + Math.floor(random() * 8)),
  )
  const files = Array.from({ length: count }, (_, i): PackageFile => {
    const size = Math.floor(2 ** (6 + 9 * random() + (random() < 0.02 ? 5 * random() : 0)))
    let content = ''
    while (content.length < size)
      content += `${words[Math.floor(random() * words.length)]} = ${words[Math.floor(random() * words.length)]}\n`
    return { path: `lib/filler/${i % 211}/module_${i}.py`, content: text(content.slice(0, size)) }
  })
  return { name: 'filler', version: '0.1', files }
}

export const samplePackages = (filler: number): Package[] => [
  pythonPackage(),
  samplePackage(),
  noarchPackage(),
  dataPackage(),
  ...(filler > 0 ? [fillerPackage(filler)] : []),
]
