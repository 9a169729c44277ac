"""A map over worker processes that keeps order, bounds memory and survives a dying worker.

The processes are pebble's: concurrent.futures loses every task when one process dies, and has no
time limits. Here are order, and the bound on results that wait.
"""

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future
from typing import Any, NamedTuple, TypeVar

import cv2
import pebble
import torch

Task = TypeVar("Task")
Result = TypeVar("Result")

# spawn: a forked copy of a process that holds a GPU or threads does not work.
_CONTEXT = multiprocessing.get_context("spawn")
pebble.CONSTS.term_timeout = 0.2  # workers ignore SIGTERM and are killed


class WorkerDied(NamedTuple):
    """In place of a result: the process that had this task ended or was given up."""

    reason: str


def ordered_map(
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
    num_workers: int,
    ahead: int = 2,
    timeout_s: float | None = None,
) -> Generator[Result | WorkerDied, None, None]:
    """function(task) for each task, in order. function, tasks and results must be picklable.

    num_workers: 0 runs in this process, one task when it is asked for.
    ahead: results that may wait beyond the one per worker; this bounds memory.
    timeout_s: a task that takes longer is given up and its process killed.
    An exception in function is raised here; a worker that dies gives WorkerDied, and the rest
    goes on in a new process. close() the generator to end the processes early.
    """
    if num_workers == 0:
        yield from map(function, tasks)
        return
    pool = pebble.ProcessPool(
        num_workers, initializer=_begin, initargs=(function,), context=_CONTEXT
    )
    pending: deque[tuple[Task, Future[Any]]] = deque()
    try:
        for task in tasks:
            pending.append((task, pool.schedule(_work, (task,), timeout=timeout_s)))
            if len(pending) >= num_workers + ahead:
                yield _result(*pending.popleft(), timeout_s)
        while pending:
            yield _result(*pending.popleft(), timeout_s)
    finally:
        pool.stop()
        pool.join()


def _result(task: Any, future: Future[Any], timeout_s: float | None) -> Any:
    try:
        return future.result()
    except pebble.ProcessExpired as error:
        return WorkerDied(f"its worker process died ({_cause(error.exitcode)})")
    except TimeoutError as error:
        if future.done() and timeout_s is not None and not hasattr(error, "traceback"):
            return WorkerDied(f"took longer than {timeout_s:g} s and was given up")
        raise
    except Exception as error:
        error.add_note(f"in a worker process, for {task}")
        raise


def _cause(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    name = signal.Signals(-code).name
    return name + (", out of memory?" if name == "SIGKILL" else "")


_function: Callable[[Any], Any]


def _begin(function: Callable[[Any], Any]) -> None:
    """In the worker process, once."""
    global _function
    _function = function
    # Ctrl-C and a scheduler's SIGTERM reach the whole process group; the main process decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    one_thread()


def one_thread() -> None:
    """There is a process for every core; libraries that start as many threads each get in the
    way."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def _work(task: Any) -> Any:
    return _function(task)
