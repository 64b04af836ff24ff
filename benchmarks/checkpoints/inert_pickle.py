"""The pickle inside a TorchScript archive, taken as data.

A pickle is a program for a small stack machine, and the usual machine imports whatever the program names and calls
whatever it asks for. This one only knows the instructions that TorchScript's writer uses; the standard library's
``pickletools`` takes the program apart. A name stays text: it is looked up in the tables below and never imported.
Objects of the archive's own classes become :class:`Record`, tensors become :class:`StoredTensor`, and anything else
ends the reading. Nothing that the file chose is ever called.

Format: torch/csrc/jit/serialization/pickler.cpp and torch/jit/_pickle.py of https://github.com/pytorch/pytorch.
"""

import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from types import MappingProxyType
from typing import Any

import torch

_MOST_DIMENSIONS = 16
_MOST_NUMBERS = 2**48


class RefusedPickleError(Exception):
    """The program does something that is not on the list; the text says what, as in ``names os.system``."""


class DamagedPickleError(Exception):
    """The program contradicts itself; the text says where."""


@dataclass(frozen=True)
class Name:
    """A name ``module.attribute`` from the program: text, whatever it is that Python knows under it."""

    text: str

    @property
    def is_class_of_the_archive(self) -> bool:
        """Whether TorchScript compiled it: such classes exist in the archive alone."""
        return self.text.startswith("__torch__.")


@dataclass(eq=False)
class Record:
    """An object of a class of the archive: what it holds, and nothing of what it does.

    Attributes:
        state: for a module a dict of its attributes.
    """

    state: Any = None


@dataclass(frozen=True)
class Storage:
    """The raw numbers of one or more tensors.

    Attributes:
        key: name of the archive's entry under ``data/``.
        dtype: of the numbers.
        size: how many there are.
    """

    key: str
    dtype: torch.dtype
    size: int


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor says that it lies in its storage; all counted in numbers, none negative.

    Attributes:
        storage: that holds the numbers.
        offset: of the first.
        shape: of the tensor.
        stride: of each dimension.
    """

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def size(self) -> int:
        """How many numbers the tensor has."""
        return prod(self.shape)

    @property
    def fits(self) -> bool:
        """Whether it reaches neither beyond its storage nor, by repeating numbers, beyond the storage's size."""
        last = self.offset + sum((side - 1) * step for side, step in zip(self.shape, self.stride, strict=True))
        return self.size == 0 or (self.size <= self.storage.size and last < self.storage.size)


def run_inert(program: bytes) -> Any:
    """The value that a pickle describes, made of plain values, :class:`Record` and :class:`StoredTensor`.

    Raises:
        RefusedPickleError: the program names, calls or does what is not on the list.
        DamagedPickleError: the program is cut off or contradicts itself.
    """
    machine = _Machine()
    try:
        for opcode, argument, _ in pickletools.genops(program):
            if opcode.name not in _ACTIONS:
                raise RefusedPickleError(f"holds the instruction {opcode.name}")
            _ACTIONS[opcode.name](machine, argument)
        return machine.pop()
    except (ValueError, LookupError) as error:  # pickletools finds no whole instruction; the stack or memo is empty
        raise DamagedPickleError(f"its description of the tensors breaks off: {error}") from None


_MARK = object()


class _Machine:
    """The stack and the memo of the running program."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def pop(self) -> Any:
        """Take the top of the stack."""
        value = self.stack.pop()
        if value is _MARK:
            raise DamagedPickleError("a mark where a value was expected")
        return value

    def pop_to_mark(self) -> list[Any]:
        """Take everything above the topmost mark, and the mark."""
        values = []
        while (value := self.stack.pop()) is not _MARK:
            values.append(value)
        return values[::-1]

    def push(self, value: Any) -> None:
        """Put a value on the stack."""
        self.stack.append(value)

    def push_name(self, module: str, name: str) -> None:
        """Put a name on the stack if it is on the list."""
        named = Name(f"{module}.{name}")
        if not (named.is_class_of_the_archive or named.text in _CALLS or named.text in STORAGES):
            raise RefusedPickleError(f"names {named.text}")
        self.push(named)

    def push_stack_name(self) -> None:
        """The same for a name whose two halves lie on the stack, as newer pickles have it."""
        name, module = self.pop(), self.pop()
        self.push_name(str(module), str(name))

    def new_object(self) -> None:
        """Make an empty :class:`Record`."""
        arguments, named = self.pop(), self.pop()
        if not (isinstance(named, Name) and named.is_class_of_the_archive and arguments == ()):
            raise RefusedPickleError(f"makes an object of {_words(named)}")
        self.push(Record())

    def reduce(self) -> None:
        """Stand in for the call of a function on the list."""
        arguments, named = self.pop(), self.pop()
        if not (isinstance(named, Name) and named.text in _CALLS and isinstance(arguments, tuple)):
            raise RefusedPickleError(f"calls {_words(named)}")
        self.push(_CALLS[named.text](arguments))

    def build(self) -> None:
        """Give a :class:`Record` its state."""
        state, record = self.pop(), self.stack[-1]
        if not isinstance(record, Record):
            raise RefusedPickleError(f"sets the state of {_words(record)}")
        record.state = state

    def append_all(self) -> None:
        """Lengthen a list."""
        values = self.pop_to_mark()
        _expect(self.stack[-1], list).extend(values)

    def set_items(self) -> None:
        """Add to a dict. Keys are text or numbers: the hash of anything nested could recurse without end."""
        values = self.pop_to_mark()
        target = _expect(self.stack[-1], dict)
        for key, value in zip(values[::2], values[1::2], strict=True):
            target[_expect(key, str, int, float)] = value

    def persistent(self) -> None:
        """Put the storage on the stack that a persistent id describes."""
        match self.pop():
            case ["storage", Name(text), str(key), str(), int(size)] if text in STORAGES and 0 <= size < _MOST_NUMBERS:
                self.push(Storage(key, STORAGES[text], size))
            case _:
                raise RefusedPickleError("refers to something outside of it that is no storage of numbers")

    def tuple_of(self, length: int) -> None:
        """Put the topmost ``length`` values into a tuple."""
        self.push(tuple(reversed([self.pop() for _ in range(length)])))


def _expect(value: Any, *kinds: type) -> Any:
    """``value``, which must be of one of these types."""
    if not isinstance(value, kinds):
        raise DamagedPickleError(f"{type(value).__name__} found, {kinds[0].__name__} expected")
    return value


def _words(value: object) -> str:
    """What to call a value in a refusal."""
    return value.text if isinstance(value, Name) else f"a {type(value).__name__}"


def _tensor(arguments: tuple[Any, ...]) -> StoredTensor:
    """A tensor from (storage, offset, shape, stride, ...)."""
    match arguments:
        case (Storage() as storage, int(offset), tuple(shape), tuple(stride), *_):
            numbers = (offset, *shape, *stride)
        case _:
            raise DamagedPickleError("a tensor without storage, offset, shape and stride")
    if len(shape) != len(stride) or len(shape) > _MOST_DIMENSIONS:
        raise DamagedPickleError(f"a tensor with {len(shape)} sides and {len(stride)} strides")
    if not all(type(number) is int and 0 <= number < _MOST_NUMBERS for number in numbers):
        raise DamagedPickleError("a tensor with sides or strides that are no sizes")
    return StoredTensor(storage, offset, shape, stride)


def _first(arguments: tuple[Any, ...]) -> Any:
    """The first argument: what torch's own helpers of these names give back."""
    return arguments[0]


def _empty(arguments: tuple[Any, ...]) -> dict[Any, Any]:
    """An empty dict, for the hooks of a tensor."""
    if arguments:
        raise RefusedPickleError("fills a collections.OrderedDict")
    return {}


_CALLS: Mapping[str, Callable[[tuple[Any, ...]], Any]] = MappingProxyType(
    {
        "torch._utils._rebuild_tensor_v2": _tensor,
        "torch._utils._rebuild_parameter": _first,
        "collections.OrderedDict": _empty,
        "torch.jit._pickle.restore_type_tag": _first,
        "torch.jit._pickle.build_intlist": _first,
        "torch.jit._pickle.build_doublelist": _first,
        "torch.jit._pickle.build_boollist": _first,
        "torch.jit._pickle.build_tensorlist": _first,
    }
)
"""What stands in for each function that TorchScript's writer asks for."""

STORAGES: Mapping[str, torch.dtype] = MappingProxyType(
    {
        "torch.DoubleStorage": torch.float64,
        "torch.FloatStorage": torch.float32,
        "torch.HalfStorage": torch.float16,
        "torch.BFloat16Storage": torch.bfloat16,
        "torch.LongStorage": torch.int64,
        "torch.IntStorage": torch.int32,
        "torch.ShortStorage": torch.int16,
        "torch.CharStorage": torch.int8,
        "torch.ByteStorage": torch.uint8,
        "torch.BoolStorage": torch.bool,
    }
)
"""The storages by name, and the type of their numbers."""

_VALUES = ("NONE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE")

_ACTIONS: Mapping[str, Callable[[_Machine, Any], None]] = MappingProxyType(
    dict.fromkeys(_VALUES, _Machine.push)
    | {
        "STOP": lambda machine, _: None,
        "PROTO": lambda machine, _: None,
        "FRAME": lambda machine, _: None,
        "MARK": lambda machine, _: machine.push(_MARK),
        "NEWTRUE": lambda machine, _: machine.push(True),
        "NEWFALSE": lambda machine, _: machine.push(False),
        "EMPTY_TUPLE": lambda machine, _: machine.push(()),
        "EMPTY_LIST": lambda machine, _: machine.push([]),
        "EMPTY_DICT": lambda machine, _: machine.push({}),
        "TUPLE": lambda machine, _: machine.push(tuple(machine.pop_to_mark())),
        "TUPLE1": lambda machine, _: machine.tuple_of(1),
        "TUPLE2": lambda machine, _: machine.tuple_of(2),
        "TUPLE3": lambda machine, _: machine.tuple_of(3),
        "APPENDS": lambda machine, _: machine.append_all(),
        "SETITEMS": lambda machine, _: machine.set_items(),
        "BINPUT": lambda machine, index: machine.memo.update({index: machine.stack[-1]}),
        "LONG_BINPUT": lambda machine, index: machine.memo.update({index: machine.stack[-1]}),
        "MEMOIZE": lambda machine, _: machine.memo.update({len(machine.memo): machine.stack[-1]}),
        "BINGET": lambda machine, index: machine.push(machine.memo[index]),
        "LONG_BINGET": lambda machine, index: machine.push(machine.memo[index]),
        "GLOBAL": lambda machine, both: machine.push_name(*both.split(" ", 1)),
        "STACK_GLOBAL": lambda machine, _: machine.push_stack_name(),
        "NEWOBJ": lambda machine, _: machine.new_object(),
        "REDUCE": lambda machine, _: machine.reduce(),
        "BUILD": lambda machine, _: machine.build(),
        "BINPERSID": lambda machine, _: machine.persistent(),
    }
)
"""What each instruction does; whatever is not here is refused by its name."""
