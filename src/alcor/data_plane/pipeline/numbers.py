"""Small numbers for long names, the same after every restart."""

import hashlib
from collections.abc import Collection, Hashable, Iterable, Mapping
from typing import Generic, TypeVar

N = TypeVar("N", bound=Hashable)


class StableNumbers(Generic[N]):
    """Gives each name a number in 1..maximum by its hash, the next free one when that is taken.

    Only names that collide depend on who came first; `seed` brings back what was given before. A number that is
    put to rest goes to nobody but its last name until it is woken.
    """

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._number_of: dict[N, int] = {}
        self._name_of: dict[int, N] = {}
        self._resting: dict[int, N] = {}  # number -> who had it last

    def seed(self, numbers: Mapping[N, int]) -> None:
        """Take over numbers given earlier; those that contradict what is given now are left out."""
        for name, number in numbers.items():
            is_free = number not in self._name_of and number not in self._resting
            if name not in self._number_of and is_free and 0 < number <= self._maximum:
                self._number_of[name] = number
                self._name_of[number] = name

    def take(self, name: N) -> int:
        """Give the name's number. Raises RuntimeError when all are given."""
        held = self._number_of.get(name)
        if held is not None:
            return held
        used = len(self._name_of) + len(self._resting)
        if used >= self._maximum and name not in self._resting.values():
            raise RuntimeError(f"all {self._maximum} numbers are given")
        start = int.from_bytes(hashlib.blake2b(repr(name).encode(), digest_size=8).digest(), "big")
        number = start % self._maximum + 1
        while number in self._name_of or self._resting.get(number, name) != name:
            number = number % self._maximum + 1
        self._resting.pop(number, None)
        self._number_of[name] = number
        self._name_of[number] = name
        return number

    def release(self, name: N) -> None:
        """Let the name's number be given again."""
        number = self._number_of.pop(name, None)
        if number is not None:
            del self._name_of[number]

    def rest(self, name: N) -> None:
        """Take the name's number away, and keep it from others until `wake`."""
        number = self._number_of.pop(name, None)
        if number is not None:
            self._resting[number] = self._name_of.pop(number)

    @property
    def resting(self) -> Collection[int]:
        """Numbers put to rest, in the order in which they were; a view, which follows what is done."""
        return self._resting.keys()

    def wake(self, numbers: Iterable[int]) -> None:
        """Let resting numbers be given again."""
        for number in tuple(numbers):  # which may be `resting` itself
            self._resting.pop(number, None)

    def number_of(self, name: N) -> int:
        """Give the number of a name that has one. Raises KeyError otherwise."""
        return self._number_of[name]

    def name_of(self, number: int) -> N | None:
        """Give the name that has the number."""
        return self._name_of.get(number)

    @property
    def numbers(self) -> Mapping[N, int]:
        return self._number_of
