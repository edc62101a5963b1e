"""measure.py COMMAND…: runs the command, its output thrown away, and prints one JSON line with what the kernel accounted for it:
wall, user and system seconds, peak resident bytes of its largest process, exit status. Includes all children it waited for."""
import json
import os
import resource
import sys
import time

start = time.perf_counter()
pid = os.fork()
if pid == 0:
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.execvp(sys.argv[1], sys.argv[1:])
_, status, _ = os.wait4(pid, 0)
wall = time.perf_counter() - start
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps({
    "wall": wall,
    "user": used.ru_utime,
    "system": used.ru_stime,
    "memory": used.ru_maxrss * 1024,
    "status": os.waitstatus_to_exitcode(status) if hasattr(os, "waitstatus_to_exitcode") else status >> 8,
}))
