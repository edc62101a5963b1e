/** Where the files of noarch python packages are installed, and which source a compiled Python file belongs to. Pure. */

/** `lib/pythonX.Y/site-packages` for a version like `3.11.4`. */
export function defaultSitePackages(version: string): string {
  return `lib/python${version.split('.').slice(0, 2).join('.')}/site-packages`
}

/**
 * The installed path of a recorded one. conda records short paths for noarch python packages (`site-packages/…`,
 * `python-scripts/…`), mamba and rattler record the final ones.
 */
export function installedPath(path: string, sitePackages: string): string {
  if (path.startsWith('site-packages/')) return sitePackages + path.slice('site-packages'.length)
  if (path.startsWith('python-scripts/')) return `bin${path.slice('python-scripts'.length)}`
  return path
}

/** The `.py` a `.pyc` was compiled from: `a/__pycache__/b.cpython-311.opt-1.pyc` and `a/b.pyc` → `a/b.py`; null: not a `.pyc`. */
export function pycSource(path: string): string | null {
  if (!path.endsWith('.pyc')) return null
  const cached = /^(.*\/)?__pycache__\/([^/]+?)\.(?:cpython|pypy|graalpy)-?\d[^/]*\.pyc$/.exec(path)
  return cached ? `${cached[1] ?? ''}${cached[2]}.py` : path.slice(0, -1)
}
