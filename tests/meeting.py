"""Whether two threads are ever at one place at the same time."""

from threading import Barrier, BrokenBarrierError


class Meeting:
    """Called at the place, waits there for another thread for some seconds, once."""

    def __init__(self, seconds: float) -> None:
        self.happened = False
        self._seconds = seconds
        self._barrier = Barrier(2)

    def __call__(self) -> None:
        try:
            self._barrier.wait(self._seconds)
        except BrokenBarrierError:
            return
        self.happened = True
