"""How many threads a call uses (beside floor 1).

The default is the smallest of what CONVX_NUM_THREADS, OMP_NUM_THREADS, the affinity mask and the container's CPU
quota allow. `threads(n)` changes it for a `with` block of the calling thread only. A forked child computes serially:
an OpenMP team does not survive fork.
"""

from __future__ import annotations

import os
from collections import deque
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from operator import index
from typing import TYPE_CHECKING
from warnings import warn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import SupportsIndex

MOST = 1024  # far beyond use; OpenMP runtimes crash on teams that the system cannot start

_local: ContextVar[int | None] = ContextVar("convx_threads", default=None)


def _quota() -> int | None:
    """CPUs granted by the cgroup (v2, then v1), rounded up; None without a limit."""
    try:
        with open("/sys/fs/cgroup/cpu.max") as file:
            quota, period = file.read().split()
    except (OSError, ValueError):
        try:
            with open("/sys/fs/cgroup/cpu/cpu.cfs_quota_us") as file:
                quota = file.read().strip()
            with open("/sys/fs/cgroup/cpu/cpu.cfs_period_us") as file:
                period = file.read().strip()
        except OSError:
            return None
    try:
        return max(1, -(-int(quota) // int(period))) if int(quota) > 0 else None
    except (ValueError, ZeroDivisionError):
        return None


def _default() -> int:
    limits = [len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1]
    quota = _quota()
    if quota:
        limits.append(quota)
    for name in ("CONVX_NUM_THREADS", "OMP_NUM_THREADS"):
        word = os.environ.get(name, "").split(",")[0].strip()
        if word.isdecimal() and int(word) > 0:
            limits.append(int(word))
        elif word and name == "CONVX_NUM_THREADS":  # of the other one OpenMP speaks
            warn(f"{name}={word!r} is no number of threads, which are 1 or more: it has no effect", stacklevel=2)
    return min(*limits, MOST)


_count = _default()
_forked = False


def _after_fork() -> None:
    global _forked
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _checked(n, name: str) -> int:
    try:
        number = index(None if isinstance(n, bool) else n)
    except TypeError:
        raise TypeError(f"{name} must be an integer, not {type(n).__name__}") from None
    if not 1 <= number <= MOST:
        raise ValueError(f"{name}={number}: from 1 to {MOST} threads can be had")
    return number


def get_num_threads() -> int:
    """Number of threads that the next call of this thread uses.

    Examples
    --------
    >>> import convx
    >>> with convx.threads(1):
    ...     convx.get_num_threads()
    1
    """
    if _forked:
        return 1
    return _local.get() or _count


def set_num_threads(n: SupportsIndex) -> None:
    """Set the number of threads of every later call in this process.

    Parameters
    ----------
    n : int
        At least 1. More threads than CPUs is allowed and rarely useful.

    Examples
    --------
    >>> import convx
    >>> convx.set_num_threads(convx.get_num_threads())
    """
    global _count
    _count = _checked(n, "n")


@contextmanager
def threads(n: SupportsIndex) -> Iterator[None]:
    """Context manager: calls of this thread inside the block use `n` threads.

    Examples
    --------
    >>> import convx
    >>> with convx.threads(1):
    ...     y = convx.convolve([1.0, 2.0], [1.0, 1.0])
    """
    token = _local.set(_checked(n, "n"))
    try:
        yield
    finally:
        _local.reset(token)


def team(workers) -> int:
    """The team size of a call with this `workers=`; None takes the current setting, -1 all of the default."""
    if workers is None:
        return get_num_threads()
    n = _count if hasattr(workers, "__index__") and index(workers) == -1 else _checked(workers, "workers")
    return 1 if _forked else n


def share(work, tasks, count: int) -> None:
    """work(task) for every task, on up to `count` threads, this one among them: for work that is not a kernel's.

    The threads are kept for later calls. An exception ends all work before it is raised here. In a forked child, and
    where no thread can be started any more, this thread does everything.
    """
    left = deque(tasks)

    def some():
        while True:
            try:
                task = left.popleft()
            except IndexError:
                return
            try:
                work(task)
            except BaseException:
                left.clear()
                raise

    helpers = []
    try:
        for _ in range(0 if _forked else min(count, len(left)) - 1):
            try:
                helpers.append(_pool().submit(some))
            except RuntimeError:  # the interpreter ends, or the system has no more threads
                break
        some()
    finally:
        left.clear()
        for helper in helpers:
            if not helper.cancel():
                helper.exception()
    for helper in helpers:
        if not helper.cancelled():
            helper.result()


@cache
def _pool():
    """Threads that live as long as the process; one is started when all are busy."""
    from concurrent.futures import ThreadPoolExecutor  # some milliseconds, which not every import should take

    return ThreadPoolExecutor(MOST, "convx")
