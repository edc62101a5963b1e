#!/bin/sh
''':'
# Read by /bin/sh, this looks for a Python; read by Python, it is a string.
case $0 in */*) here=${0%/*} ;; *) here=. ;; esac
for python in "$here/python3" "$here/python" python3 python; do
  if [ "$("$python" -I -S -c 'import sys; print(sys.version_info >= (3, 6))' 2>/dev/null)" = True ]; then
    exec "$python" -I -S -B "$0" "$@"
  fi
done
echo "conda-unpack: error: no Python 3.6 or newer, neither in this environment nor on PATH" >&2
echo "hint: 'conda-deploy ARCHIVE' needs no Python" >&2
exit 1
'''
"""Completes an environment that was unpacked with plain tar: writes the prefix at which it stands into its files.

Where each prefix stands is in the table at the end of this file. Nothing is written before every file has been
checked; each file is replaced by a new one, never edited. Progress is kept in .conda-deploy/unpacked: the next run
goes on where one was killed. The rules are those of "Spots" and "Shebangs" in src/archive/FORMAT.md.
"""
import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import re
import stat
import sys

UNITS = {'c8': 1, 'c16le': 2, 'c16be': 2, 'c32le': 4, 'c32be': 4}
CODECS = {'c16le': 'utf-16-le', 'c16be': 'utf-16-be', 'c32le': 'utf-32-le', 'c32be': 'utf-32-be'}
SHEBANG_MAX = 127  # Linux before 5.1 reads 128 bytes, with the closing NUL
STATE = os.path.join(b'.conda-deploy', b'unpacked')


class Refused(Exception):
    """The request cannot be done; the message is for the user."""


def to_bytes(text):
    return text.encode('utf-8', 'surrogateescape')


def to_text(path):
    return path.decode('utf-8', 'surrogateescape')


def shown(path):
    return path.decode('utf-8', 'backslashreplace')


def encode(prefix, encoding):
    """The prefix in the bytes of an encoding."""
    if encoding not in CODECS:
        return prefix
    try:
        return prefix.decode('utf-8').encode(CODECS[encoding])
    except UnicodeDecodeError:
        raise Refused('the prefix %s is not UTF-8, but is needed in %s' % (shown(prefix), CODECS[encoding]))


class File:
    """One row of the table: a file with spots, each (encoding, offset, what it refers to, slot)."""

    def __init__(self, row, prefixes):
        path, self.size, self.sha256, spots, links = row
        self.path = safe(path)
        self.links = [safe(link) for link in links]
        self.spots = [(e, offset, safe(refers) if e == 'digest' else prefixes[refers], slot)
                      for e, offset, refers, slot in spots]
        self.last = any(e == 'digest' for e, _, _, _ in self.spots)


def safe(path):
    path = to_bytes(path)
    if b'\0' in path or any(part in (b'', b'.', b'..') for part in path.split(b'/')):
        raise Refused('the table names an unsafe path: %s' % shown(path))
    return path


def read_table(script):
    with open(script, 'rb') as f:
        rows = [json.loads(line[3:].decode('ascii')) for line in f if line.startswith(b'#: ')]
    if not rows or rows[0]['version'] != 1 or len(rows) != rows[0]['files'] + 1:
        raise Refused('the table at the end of %s is incomplete' % shown(script))
    prefixes = [to_bytes(p) for p in rows[0]['prefixes']]
    return rows[0], [File(row, prefixes) for row in rows[1:]]


def find_nul(data, at, unit):
    """First NUL unit at or after `at`, in steps of the unit; the end of the data when there is none."""
    if unit == 1:
        found = data.find(b'\0', at)
        return len(data) if found < 0 else found
    zero = bytes(unit)
    while at + unit <= len(data):
        if data[at:at + unit] == zero:
            return at
        at += unit
    return len(data)


def rewrite(data, spots, prefix, digests):
    """The content with every spot replaced. `digests`: hexadecimal SHA-256 as deployed, by path."""
    out = []
    at = 0
    i = 0
    while i < len(spots):
        encoding, offset, refers, _ = spots[i]
        if offset < at:
            raise Refused('spots overlap')
        out.append(data[at:offset])
        if encoding == 'digest':
            out.append(digests[refers].encode('ascii'))
            at = offset + 64
            i += 1
        elif encoding == 'text':
            at = offset + expect(data, offset, refers)
            out.append(prefix)
            i += 1
        else:
            new, at, i = c_string(data, spots, i, prefix)
            out.append(new)
    out.append(data[at:])
    return treat_shebang(data, spots[0], prefix, b''.join(out))


def expect(data, offset, stored):
    if data.startswith(stored, offset):
        return len(stored)
    raise Refused('at byte %d stands no %s' % (offset, shown(stored)))


def c_string(data, spots, first, prefix):
    """The string that begins at spot `first`, relocated and filled with NULs; where it ended; the next spot."""
    encoding = spots[first][0]
    unit = UNITS[encoding]
    new = encode(prefix, encoding)
    out = []
    begin = at = spots[first][1]
    end = None
    spare = 0
    i = first
    while i < len(spots) and (end is None or spots[i][1] < end):
        other, offset, refers, slot = spots[i]
        if other != encoding or (offset - begin) % unit:
            raise Refused('at byte %d: another encoding inside a string' % offset)
        stored = encode(refers, encoding)
        out += [data[at:offset], new]
        at = offset + expect(data, offset, stored)
        spare += slot * unit - len(stored)
        if end is None:
            end = find_nul(data, at, unit)
        i += 1
    out.append(data[at:end])
    text = b''.join(out)
    stop = end + spare
    if spare < 0 or stop > len(data) or any(data[end:stop]):
        raise Refused('at byte %d: the slot is not closed by NULs' % begin)
    return text + bytes(stop - begin - len(text)), stop, i


def treat_shebang(data, spot, prefix, out):
    """A first line that Linux could not execute becomes one that it can."""
    encoding, begin, _, _ = spot
    if encoding != 'text' or not data.startswith(b'#!') or data[2:begin].strip(b' \t'):
        return out
    line = out.split(b'\n', 1)[0]
    end = begin + len(prefix)
    while end < len(line) and line[end:end + 1] not in (b' ', b'\t'):
        end += 1
    return shebang_for(line, line[begin:end], line[end:]) + out[len(line):]


def shebang_for(line, path, options):
    if len(line) <= SHEBANG_MAX and b' ' not in path and b'\t' not in path:
        return line
    base = path.rsplit(b'/', 1)[-1]
    quoted = b'"' + re.sub(br'([\\"$`])', br'\\\1', path) + b'"'
    sh, this = b'#!/bin/sh\n', b' "$0" "$@"'
    if base.startswith((b'python', b'pypy')):
        return sh + b"'''exec' " + quoted + options + this + b" #'''"
    if base.startswith((b'perl', b'ruby')):
        return sh + b'exec ' + quoted + b' -x' + this + b'\n#!' + base + options
    if base in (b'sh', b'bash', b'dash', b'ksh', b'zsh'):
        mark = b'test "${CONDA_DEPLOY_SH-}" = $$ || { CONDA_DEPLOY_SH=$$; export CONDA_DEPLOY_SH; '
        return sh + mark + b'exec ' + quoted + options + this + b'; }'
    if base.startswith((b'tclsh', b'wish')):
        return sh + b'# \\\nexec ' + quoted + this
    if base in (b'node', b'nodejs'):
        return sh + b"':' //; exec " + quoted + options + this
    return b'#!/usr/bin/env ' + (b'-S ' if options else b'') + base + options


def read(path):
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), 'rb') as f:
        return f.read()


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def read_state(tree):
    """(prefix, {path: deployed hash}, complete) of an earlier run, or of a deployment; None: untouched."""
    try:
        prefix = json.loads(read(os.path.join(tree, b'.conda-deploy', b'ready')).decode('utf-8'))['prefix']
        return to_bytes(prefix), {}, True
    except FileNotFoundError:
        pass
    try:
        lines = read(os.path.join(tree, STATE)).split(b'\n')[:-1]  # the last line may be torn
    except FileNotFoundError:
        return None
    if not lines:
        return None
    rows = [json.loads(line.decode('ascii')) for line in lines]
    complete = rows[-1] == 'complete'
    return to_bytes(rows[0]), {to_bytes(path): digest for path, digest in rows[1:-1 if complete else None]}, complete


class Journal:
    """Notes what is about to be done. A new one replaces an old one only once it holds all that the old one held."""

    def __init__(self, path, prefix, deployed):
        self.file = open(path + b'.new', 'wb')
        self.note(to_text(prefix))
        for name, digest in deployed.items():
            self.note([to_text(name), digest])
        os.rename(path + b'.new', path)

    def note(self, row):
        self.file.write(json.dumps(row).encode('ascii') + b'\n')
        self.file.flush()


def check_fit(files, prefix):
    longest = None
    bad = []
    for f in files:
        slots = [(slot, len(encode(prefix, e)) // UNITS[e]) for e, _, _, slot in f.spots if e in UNITS]
        longest = min([slot for slot, _ in slots] + ([] if longest is None else [longest]), default=None)
        if any(needed > slot for slot, needed in slots):
            bad.append(f.path)
    if bad:
        raise Refused('the prefix %s (%d bytes) is too long; the longest that fits has %d. Nothing was written. '
                      'Files: %s\nhint: unpack to a shorter path' % (shown(prefix), len(prefix), longest, some(bad)))


def check_content(tree, files, journal):
    """Refuses files that are neither as the archive holds them nor as an earlier run left them; the latter's hashes."""
    done = {}
    bad = []
    for f in files:
        try:
            found = sha256(read(os.path.join(tree, f.path)))
            for link in f.links:
                os.lstat(os.path.join(tree, link))
        except FileNotFoundError:
            bad.append(f.path)
            continue
        if found == journal.get(f.path) and found != f.sha256:
            done[f.path] = found
        elif found != f.sha256:
            bad.append(f.path)
    if bad:
        raise Refused('not as the archive holds them, or absent: %s. Nothing was written.\n'
                      'hint: unpack the archive again' % some(bad))
    return done


def some(paths):
    rest = len(paths) - 5
    return ', '.join(shown(p) for p in paths[:5]) + (' and %d more' % rest if rest > 0 else '')


def replace(path, data):
    """A new file takes the place of `path`, with its owner, mode and times. A running program keeps the old one."""
    old = os.lstat(path)
    temporary = temporary_for(path)
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(fd, 'wb') as f:
            f.write(data)
            f.flush()
            if os.geteuid() == 0:
                os.fchown(fd, old.st_uid, old.st_gid)
            os.fchmod(fd, stat.S_IMODE(old.st_mode))
            os.utime(fd, ns=(old.st_atime_ns, old.st_mtime_ns))
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def relink(path, link):
    if os.lstat(path).st_ino == os.lstat(link).st_ino:
        return
    temporary = temporary_for(link)
    os.link(path, temporary)
    os.rename(temporary, link)


def temporary_for(path):
    """A name beside `path`; the same for all, so that what a killed run left there is replaced by the next run."""
    temporary = os.path.join(os.path.dirname(path), b'.conda-unpack.tmp')
    if os.path.lexists(temporary):
        os.unlink(temporary)
    return temporary


@contextlib.contextmanager
def kept_times(directories):
    """Gives directories their times back after files in them were replaced."""
    times = {path: os.stat(path) for path in set(directories)}
    try:
        yield
    finally:
        for path, st in times.items():
            os.utime(path, ns=(st.st_atime_ns, st.st_mtime_ns))


def lock(script):
    """Waits for another run on this tree, which tasks of one job may well start together."""
    try:
        fcntl.flock(script, fcntl.LOCK_EX)
    except OSError as e:
        print('conda-unpack: this file system has no locks (%s): let only one run at a time' % e, file=sys.stderr)


def unpack(tree, prefix, files, verbose):
    """Returns what to say at the end."""
    state = read_state(tree)
    if state is not None and state[0] != prefix:
        raise Refused('this environment was completed for %s, but now %s is wanted: it was moved, or copied.\n'
                      'hint: unpack the archive again where it shall stand, or run: conda-deploy ARCHIVE --to %s'
                      % (shown(state[0]), shown(prefix), shown(prefix)))
    if state is not None and state[2]:
        return 'already completed for %s: nothing to do' % shown(prefix)
    check_fit(files, prefix)
    deployed = check_content(tree, files, {} if state is None else state[1])
    full = {path: os.path.join(tree, path) for f in files for path in [f.path] + f.links}
    with kept_times([tree] + [os.path.dirname(p) for p in full.values()]):
        os.makedirs(os.path.join(tree, os.path.dirname(STATE)), exist_ok=True)
        journal = Journal(os.path.join(tree, STATE), prefix, deployed)
        with journal.file:
            for f in sorted(files, key=lambda f: f.last):
                if f.path not in deployed:
                    data = relocated(full[f.path], f, prefix, deployed)
                    deployed[f.path] = sha256(data)
                    journal.note([to_text(f.path), deployed[f.path]])
                    replace(full[f.path], data)
                    if verbose:
                        print(shown(f.path), file=sys.stderr)
                for link in f.links:
                    relink(full[f.path], full[link])
            journal.note('complete')
    return '%d files written for %s' % (len(files), shown(prefix))


def relocated(path, f, prefix, deployed):
    old = read(path)
    try:
        new = rewrite(old, f.spots, prefix, deployed)
    except (Refused, KeyError) as e:
        raise Refused('%s: the table does not match the file: %s' % (shown(f.path), e))
    if new.startswith(b'#!/usr/bin/env ') and not old.startswith(b'#!/usr/bin/env '):
        print('conda-unpack: %s finds its interpreter by PATH now: Linux cannot execute a line with this prefix'
              % shown(f.path), file=sys.stderr)
    return new


def main():
    parser = argparse.ArgumentParser(prog='conda-unpack', description='Completes an environment that was unpacked with '
                                     'plain tar: writes the prefix at which it stands into its files. Run it once.')
    parser.add_argument('--prefix', metavar='P', help='the prefix to write, when the environment will stand elsewhere '
                        '(default: where it stands, the parent of bin)')
    parser.add_argument('-v', '--verbose', action='store_true', help='name every file that is written')
    parser.add_argument('--version', action='store_true', help='say the version and exit')
    options = parser.parse_args()
    script = os.fsencode(os.path.abspath(__file__))
    tree = os.path.dirname(os.path.dirname(script))
    prefix = tree if options.prefix is None else os.path.abspath(os.fsencode(options.prefix))
    try:
        header, files = read_table(script)
        if options.version:
            print('conda-unpack %s' % header['producer'])
        else:
            with open(script, 'rb') as own:
                lock(own)
                print('conda-unpack: %s' % unpack(tree, prefix, files, options.verbose), file=sys.stderr)
    except Refused as e:
        sys.exit('conda-unpack: error: %s' % e)
    except OSError as e:
        hint = '\nhint: the tree must be writable: chmod -R u+w PREFIX' if isinstance(e, PermissionError) else ''
        sys.exit('conda-unpack: error: %s%s' % (e, hint))


if __name__ == '__main__':
    main()
