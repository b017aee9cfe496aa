"""Work in stages that overlap: each stage is an iterator that a thread of its own runs.

The stages hand their items on through bounded queues, in order. An exception takes its item's
place in the order, comes out at the end of the pipeline, and ends it. Whoever stops early closes
the generator (or drops it): the stages end at their next item, and are waited for.
"""

from __future__ import annotations

import atexit
import itertools
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

AHEAD = 1  # items that wait between two stages: more would only age, as a camera's frames do


def batches_of(items: Iterable, size: int) -> Iterator[list]:
    """The items in lists of `size`; closes a generator that it reads."""
    iterator = iter(items)
    try:
        while some := list(itertools.islice(iterator, size)):
            yield some
    finally:
        if hasattr(iterator, "close"):
            iterator.close()


class Channel:
    """A bounded queue with one writer and one reader; `close` ends both at once."""

    def __init__(self, size: int | None) -> None:
        self.size = size  # None: somebody else limits it
        self.items: deque = deque()
        self.closed = False
        self.changed = threading.Condition()

    def close(self) -> None:
        with self.changed:
            self.closed = True
            self.items.clear()
            self.changed.notify_all()

    def _has_room(self) -> bool:
        return self.size is None or len(self.items) < self.size

    def put(self, item: object, end: bool = False) -> bool:
        """Waits for room; False: the channel is closed. An `end` is an exception or None."""
        with self.changed:
            self.changed.wait_for(lambda: self.closed or self._has_room())
            if not self.closed:
                self.items.append((item, end))
                self.changed.notify_all()
            return not self.closed

    def __iter__(self) -> Iterator[Any]:
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self.closed or self.items)
                if self.closed:
                    return
                item, end = self.items.popleft()
                self.changed.notify_all()
            if not end:
                yield item
            elif item is None:
                return
            else:
                raise item


class Stage:
    """A thread that runs an iterator and puts what it gives into a channel."""

    def __init__(
        self,
        make: Callable[[], Iterable],
        name: str,
        ahead: int | None = AHEAD,
        stop: Callable[[], Any] | None = None,
    ) -> None:
        self.channel = Channel(ahead)
        self.make, self.stop = make, stop
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        items, end = None, None
        try:
            items = iter(self.make())
            for item in items:
                if not self.channel.put(item):
                    break
        except BaseException as error:  # whoever reads the channel gets it
            end = error
        finally:
            if hasattr(items, "close"):
                items.close()
            self.channel.put(end, end=True)

    def close(self) -> None:
        self.channel.close()
        if self.stop:
            self.stop()


_open: weakref.WeakSet = weakref.WeakSet()


def _close_all() -> None:
    """Threads that still run at the interpreter's end would use what is freed then."""
    for stage in list(_open):
        stage.close()
        stage.thread.join()


atexit.register(_close_all)


def overlap(
    source: Iterable,
    *steps: Callable[[Any], Any],
    ahead: int | None = AHEAD,
    stop: Callable[[], Any] | None = None,
) -> Iterator[Any]:
    """Items of `source` through all steps; the source with the first step runs in one thread, each
    other step in one of its own, and the caller's work on what comes out in the caller's.

    ahead limits what waits behind the first step (None: that limits itself); stop, which may be
    called more than once, ends steps that wait for something else than their items.
    """
    stages: list[Stage] = []
    items = source
    try:
        for number, step in enumerate(steps):
            stage = Stage(
                lambda s=step, i=items: _mapped(s, i),
                f"yolomask stage {number + 1}",
                AHEAD if number else ahead,
                stop,
            )
            stages.append(stage)
            _open.add(stage)
            items = stage.channel
        yield from items
    finally:
        for stage in stages:
            stage.close()
        for stage in stages:
            stage.thread.join()


def _mapped(step: Callable[[Any], Any], items: Iterable) -> Iterator[Any]:
    """map(), but closes a generator that it reads."""
    try:
        for item in items:
            yield step(item)
    finally:
        if hasattr(items, "close") and not isinstance(items, Channel):
            items.close()
