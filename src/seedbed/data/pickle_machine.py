"""A pickle machine that runs nothing: it knows the opcodes of containers and literals, and calls what it is given.

Python's own unpickler looks names up and calls them, hashes whatever stands as a key, and reserves the memory that a
file claims to need. This one calls only the functions of a table, takes scalars alone as keys, and accounts for the
memory of everything that it makes.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np

Symbols = Mapping[tuple[str, str], Any]
"""What stands for a name (module, name): a function to call with the file's arguments, or anything else to hold."""

_MOST_STEPS = 20_000_000
_SLOT = 16
"""Bytes of a place on the stack, and of the one in a container where it may end up."""
_ENTRY = 100
"""Bytes of an entry of a hash table."""
_CALLED = 320
"""Bytes of what a function returns, but for the content of arrays, for which the functions account."""
_LARGEST = 2**128
_KEYS = (str, bytes, int, float, bool, type(None), np.generic)
_DAMAGE = (ValueError, TypeError, IndexError, KeyError, AttributeError, OverflowError, MemoryError)

_OPCODES = {opcode.code: opcode for opcode in pickletools.opcodes}
_FORBIDDEN = {"INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4", "NEXT_BUFFER", "READONLY_BUFFER"}
_LITERALS = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
    "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES",
    "BINBYTES8", "BYTEARRAY8",
}  # fmt: skip
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY: dict[str, Callable[[], Any]] = {"EMPTY_LIST": list, "EMPTY_TUPLE": tuple, "EMPTY_DICT": dict, "EMPTY_SET": set}
_SHORT_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_NEW = _LITERALS | _EMPTY.keys() | _SHORT_TUPLES.keys() | {"LIST", "TUPLE", "DICT", "FROZENSET"}
_PUTS = {"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"}
_GETS = {"GET", "BINGET", "LONG_BINGET"}
_ESCAPE = re.compile(rb"\\(x[0-9a-f]{2}|.)", re.DOTALL)
_ESCAPED = {b"\\": b"\\", b"'": b"'", b'"': b'"', b"t": b"\t", b"n": b"\n", b"r": b"\r"}


@runtime_checkable
class Unbuilt(Protocol):
    """An object that the opcode BUILD completes with a state."""

    def build(self, state: Any) -> None:
        """Take `state` in."""


class Machine:
    """Reads one pickle from `stream`, which may go on after it.

    `spend` is told the bytes of memory that every step takes, about, and raises pickle.UnpicklingError when they are
    too many. `persistent` answers references out of the file.
    """

    def __init__(
        self,
        stream: io.BytesIO,
        symbols: Symbols,
        spend: Callable[[int], None],
        persistent: Callable[[Any], Any] | None = None,
    ) -> None:
        self._stream, self._symbols, self._spend, self._persistent = stream, symbols, spend, persistent
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def run(self) -> Any:
        """Return what the pickle holds. Raises pickle.UnpicklingError when it is damaged, too long, or forbidden."""
        try:
            for _ in range(_MOST_STEPS):
                opcode = self._next()
                argument = self._argument(opcode)
                if opcode.name == "STOP":
                    return self._stack.pop()
                self._step(opcode.name, argument)
                self._spend(_SLOT + (sys.getsizeof(self._stack[-1]) if opcode.name in _NEW else 0))
        except _DAMAGE as error:
            raise pickle.UnpicklingError(f"damaged ({type(error).__name__}: {error})") from None
        raise pickle.UnpicklingError(f"it has more than {_MOST_STEPS} steps")

    def _next(self) -> pickletools.OpcodeInfo:
        code = self._stream.read(1)
        if not code:
            raise pickle.UnpicklingError("damaged (it ends too early)")
        opcode = _OPCODES[code.decode("latin1")]
        if opcode.name in _FORBIDDEN:  # before its argument is read
            raise pickle.UnpicklingError(f"it uses the opcode {opcode.name}, which is not allowed")
        return opcode

    def _argument(self, opcode: pickletools.OpcodeInfo) -> Any:
        if opcode.name == "STRING":  # Python 2 wrote the bytes of arrays so
            return _unescaped(self._stream.readline())
        if opcode.name in {"GLOBAL", "PERSID"}:
            return self._line()
        argument = opcode.arg.reader(self._stream) if opcode.arg is not None else None
        if isinstance(argument, int) and abs(argument) > _LARGEST:
            raise pickle.UnpicklingError("it holds a number of more than 128 bits")
        return argument

    def _line(self) -> str:
        return self._stream.readline().rstrip(b"\n").decode("ascii", "backslashreplace")

    def _step(self, name: str, argument: Any) -> None:
        stack = self._stack
        if name in _LITERALS:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            stack.append(_EMPTY[name]())
        elif name in _PUTS:
            self._spend(_ENTRY)
            self._memo[len(self._memo) if argument is None else argument] = stack[-1]
        elif name in _GETS:
            stack.append(self._memo[argument])
        elif name in _SHORT_TUPLES:
            self._replace(_SHORT_TUPLES[name], tuple)
        elif name == "MARK":
            self._spend(sys.getsizeof(len(stack)))
            self._marks.append(len(stack))
        elif name not in {"PROTO", "FRAME"}:
            self._act(name, argument)

    def _act(self, name: str, argument: Any) -> None:
        if name == "GLOBAL":
            self._push_symbol(argument, self._line())
        elif name == "PERSID":
            self._stack.append(self._outside(argument))
        else:
            _ACTIONS[name](self)

    def _marked(self) -> list[Any]:
        """Take the items above the last mark off the stack."""
        start = self._marks.pop()
        items = self._stack[start:]
        del self._stack[start:]
        return items

    def _replace(self, count: int, make: Callable[[list[Any]], Any]) -> None:
        """Put what `make` makes of the last `count` items in their place."""
        if len(self._stack) < count:
            raise IndexError("the stack is empty")
        items = self._stack[-count:]
        self._stack[-count:] = [make(items)]

    def _push_symbol(self, module: object, name: object) -> None:
        if not (isinstance(module, str) and isinstance(name, str) and (module, name) in self._symbols):
            raise pickle.UnpicklingError(f"it refers to {module}.{name}, which is not allowed")
        self._stack.append(self._symbols[module, name])

    def _named(self) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        self._push_symbol(module, name)

    def _extend(self, items: Iterable[Any]) -> None:
        target = self._stack[-1]
        if type(target) is not list:
            raise TypeError("only a list can be extended")
        target.extend(items)

    def _fill(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is not dict or len(items) % 2:
            raise TypeError("keys and values must come in pairs, for a dict")
        self._spend(_ENTRY * len(items) // 2)
        target.update(mapping(zip(items[::2], items[1::2], strict=True)))

    def _dict(self) -> None:
        items = self._marked()
        self._stack.append({})
        self._fill(items)

    def _include(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is not set:
            raise TypeError("only a set can take members")
        self._spend(_ENTRY * len(items))
        target.update(map(key, items))

    def _call(self) -> None:
        arguments, function = self._stack.pop(), self._stack.pop()
        if not (callable(function) and type(arguments) is tuple):
            raise pickle.UnpicklingError("it calls something that is no allowed function")
        self._spend(_CALLED)
        self._stack.append(function(*arguments))

    def _build(self) -> None:
        state = self._stack.pop()
        target = self._stack[-1]
        if not isinstance(target, Unbuilt):
            raise pickle.UnpicklingError(f"it sets the state of a {type(target).__name__}")
        target.build(state)

    def _outside(self, reference: Any) -> Any:
        if self._persistent is None:
            raise pickle.UnpicklingError("it refers to objects outside the file")
        return self._persistent(reference)


_ACTIONS: dict[str, Callable[[Machine], object]] = {
    "POP": lambda machine: machine._stack.pop(),
    "POP_MARK": lambda machine: machine._marked(),
    "DUP": lambda machine: machine._stack.append(machine._stack[-1]),
    "LIST": lambda machine: machine._stack.append(machine._marked()),
    "TUPLE": lambda machine: machine._stack.append(tuple(machine._marked())),
    "FROZENSET": lambda machine: machine._stack.append(frozenset(map(key, machine._marked()))),
    "DICT": Machine._dict,
    "APPEND": lambda machine: machine._extend([machine._stack.pop()]),
    "APPENDS": lambda machine: machine._extend(machine._marked()),
    "SETITEM": lambda machine: machine._fill([machine._stack.pop(-2), machine._stack.pop()]),
    "SETITEMS": lambda machine: machine._fill(machine._marked()),
    "ADDITEMS": lambda machine: machine._include(machine._marked()),
    "STACK_GLOBAL": Machine._named,
    "REDUCE": Machine._call,
    "BUILD": Machine._build,
    "BINPERSID": lambda machine: machine._stack.append(machine._outside(machine._stack.pop())),
}


def key(value: Any) -> Any:
    """Return `value` if it may be a key of a dict or a member of a set: a scalar; nested tuples hash for ever."""
    if not isinstance(value, _KEYS):
        raise pickle.UnpicklingError(f"it has a {type(value).__name__} as a key, which is not allowed")
    return value


def mapping(pairs: Iterable[Iterable[Any]]) -> dict[Any, Any]:
    """Return the dict of `pairs`, whose keys must be scalars."""
    return {key(name): value for name, value in pairs}


def _unescaped(text: bytes) -> str:
    """Return the text that a line with Python 2's repr of a str stands for; byte k is character k."""
    quoted = text.rstrip(b"\r\n")
    if len(quoted) < 2 or quoted[:1] != quoted[-1:] or quoted[:1] not in {b"'", b'"'}:
        raise ValueError("a text without quotes")

    def byte(found: re.Match[bytes]) -> bytes:
        code = found[1]
        return bytes([int(code[1:], 16)]) if len(code) == 3 else _ESCAPED[code]

    return _ESCAPE.sub(byte, quoted[1:-1]).decode("latin1")
