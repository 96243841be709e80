"""The undo log of a driver: what a unit of work has changed is put back whole if the work is rejected or fails."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")

_MISSING: Any = object()


class Restorable:
    """An object whose slots can be put back as they were; what a slot holds is replaced, never changed in place."""

    __slots__: tuple[str, ...] = ()

    def values(self) -> tuple[Any, ...]:
        """Returns what every slot holds."""
        return tuple([getattr(self, name) for name in self.__slots__])

    def restore(self, values: tuple[Any, ...]) -> None:
        """Puts every slot back."""
        for name, value in zip(self.__slots__, values, strict=True):
            setattr(self, name, value)


class UndoLog:
    """Undo steps of the units of work under way, which may be nested. Outside of one, nothing is recorded."""

    __slots__ = ("_marks", "_seen", "_steps")

    def __init__(self) -> None:
        self._steps: list[tuple[Callable[..., object], tuple[Any, ...]]] = []
        self._marks: list[tuple[int, set[int]]] = []
        self._seen: set[int] = set()

    def begin(self) -> None:
        """Begins a unit of work, within the one that is under way."""
        self._marks.append((len(self._steps), self._seen))
        self._seen = set()

    def commit(self) -> None:
        """Ends the innermost unit of work; what encloses it can still be rolled back."""
        _, self._seen = self._marks.pop()
        if not self._marks:
            self._steps.clear()

    def rollback(self) -> None:
        """Ends the innermost unit of work and puts back what it changed, the last change first."""
        start, self._seen = self._marks.pop()
        steps = self._steps[start:]
        del self._steps[start:]
        for undo, arguments in reversed(steps):
            undo(*arguments)

    def remember(self, it: Restorable, then: Callable[[], object] | None = None) -> None:
        """Records an object as it is, once in a unit of work; `then` is called after it was put back."""
        if self._marks and id(it) not in self._seen:
            self._seen.add(id(it))
            if then is not None:
                self._steps.append((then, ()))
            self._steps.append((it.restore, (it.values(),)))

    def set_item(self, mapping: MutableMapping[Key, Value], key: Key, value: Value) -> None:
        """Sets an item of a mapping; undone, a mapping that kept its items in order has this one last."""
        if self._marks:
            self._steps.append((_put_back, (mapping, key, mapping.get(key, _MISSING))))
        mapping[key] = value

    def delete_item(self, mapping: MutableMapping[Key, Value], key: Key) -> None:
        """Deletes an item of a mapping, if it is there."""
        value = mapping.pop(key, _MISSING)
        if self._marks and value is not _MISSING:
            self._steps.append((_put_back, (mapping, key, value)))


def _put_back(mapping: MutableMapping[Key, Value], key: Key, value: Value) -> None:
    if value is _MISSING:
        mapping.pop(key, None)
    else:
        mapping[key] = value
