"""A map over worker processes that keeps order, bounds memory and survives a dying worker.

concurrent.futures loses every task when one process dies, and does not say which task did it. Here
each thread of a pool owns one process and one pipe, so a broken pipe names its task.
"""

import multiprocessing
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from queue import SimpleQueue
from typing import Any, NamedTuple, TypeVar

import cv2
import torch

Task = TypeVar("Task")
Result = TypeVar("Result")

# spawn: a forked copy of a process that holds a GPU or threads does not work.
_CONTEXT = multiprocessing.get_context("spawn")


class WorkerDied(NamedTuple):
    """In place of a result: the process that had this task ended or was given up."""

    reason: str


class _Failed(NamedTuple):
    error: Exception


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
    stopping = threading.Event()
    idle: SimpleQueue[_Worker] = SimpleQueue()
    everyone = [_Worker(function) for _ in range(num_workers)]
    for worker in everyone:
        idle.put(worker)

    def run(task: Task) -> Any:
        worker = idle.get()
        try:
            return worker.run(task, timeout_s, stopping)
        finally:
            idle.put(worker)

    threads = ThreadPoolExecutor(num_workers)
    pending: deque[Future[Any]] = deque()
    try:
        for task in tasks:
            pending.append(threads.submit(run, task))
            if len(pending) >= num_workers + ahead:
                yield _value(pending.popleft().result())
        while pending:
            yield _value(pending.popleft().result())
    finally:
        stopping.set()
        threads.shutdown(wait=False, cancel_futures=True)
        for worker in everyone:
            worker.stop()


def _value(result: Any) -> Any:
    if isinstance(result, _Failed):
        raise result.error
    return result


class _Worker:
    """One process and the pipe to it. Started at its first task, restarted after a death."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function
        self.running: tuple[BaseProcess, Connection] | None = None
        self.lock = threading.Lock()  # start and stop come from different threads

    def run(self, task: object, timeout_s: float | None, stopping: threading.Event) -> Any:
        with self.lock:
            if stopping.is_set():
                return WorkerDied("stopped")
            if self.running is None:
                self.running = self._start()
            process, pipe = self.running
        try:
            pipe.send(task)
            if not pipe.poll(timeout_s):
                self.stop()
                return WorkerDied(f"took longer than {timeout_s:g} s and was given up")
            return pipe.recv()
        except (EOFError, OSError):
            with self.lock:  # two threads that wait for one process confuse each other
                if self.running is not None:
                    process.join(1)  # the pipe closes a moment before there is an exit code
            self.stop()
            return WorkerDied(f"its worker process died ({_cause(process)})")

    def _start(self) -> tuple[BaseProcess, Connection]:
        ours, theirs = _CONTEXT.Pipe()
        process = _CONTEXT.Process(target=_serve, args=(theirs, self.function), daemon=True)
        process.start()
        theirs.close()  # so that the death of the process closes the pipe
        return process, ours

    def stop(self) -> None:
        with self.lock:
            if self.running is not None:
                process, _ = self.running
                self.running = None
                process.kill()
                process.join()


def _cause(process: BaseProcess) -> str:
    code = process.exitcode
    if code is None or code >= 0:
        return f"exit code {code}"
    name = signal.Signals(-code).name
    return name + (", out of memory?" if name == "SIGKILL" else "")


def _serve(pipe: Connection, function: Callable[[Any], Any]) -> None:
    """The worker process: answer until the other end is gone."""
    # Ctrl-C and a scheduler's SIGTERM reach the whole process group; the main process decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # There is a process for every core; libraries that start as many threads each get in the way.
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    while True:
        try:
            task = pipe.recv()
        except EOFError:
            return
        try:
            answer = function(task)
        except Exception as error:
            error.add_note(f"in a worker process, for {task}")
            answer = _Failed(error)
        try:
            pipe.send(answer)
        except BrokenPipeError:
            return
