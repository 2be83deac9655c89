"""PickleMachine: an interpreter for the pickle programs of PyTorch checkpoints, which executes nothing else.

It knows only the instructions that dicts of tensors need, and builds only dicts, lists, tuples, numbers, texts, tensors
and the ragged tensors of k2. Anything else is refused by name.
"""

from __future__ import annotations

import math
import pickletools
import zipfile
from collections.abc import Callable
from typing import Any, NamedTuple, Union

import torch
from torch import Tensor

from hainan_k2.files.tensors import Stored

_TYPES = {
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
_RAGGED = "_k2.ragged.RaggedTensor"
_ADVICE = ": only dicts of tensors, lists, numbers and texts are read"


class Ragged:
    """A k2.RaggedTensor as its file has it; the rows of axis 0 are lists of rows of axis 1, and so on.

    row_splits: for every axis but the last (N + 1,) int32, where its rows begin and end; values: (M,).
    """

    def __init__(self) -> None:
        self.row_splits: tuple[Tensor, ...] = ()
        self.values = torch.empty(0, dtype=torch.int32)


class _Name(NamedTuple):
    """A name in the pickle program: of a function to call, or of a type of storage."""

    name: str


class _Storage(NamedTuple):
    dtype: torch.dtype
    num_values: int
    load: Callable[[], Tensor]  # one-dimensional


class PickleMachine:
    """Runs data.pkl with a stack of objects, a memo of those used again, and marks where collections begin.

    Args:
      archive: the zip archive of a checkpoint.
      records: its entries by their names without the first folder: data.pkl, data/0 ...
      budget: bytes that storages and tensors may take together.
      lazy: build Stored tensors, which read their values from the archive when they are needed.
    """

    def __init__(self, archive: zipfile.ZipFile, records: dict[str, zipfile.ZipInfo], budget: int, lazy: bool = False):
        self.archive, self.records, self.budget, self.lazy = archive, records, budget, lazy
        self.storages: dict[tuple[str, str], _Storage] = {}
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        """The object that the program builds. Raises ValueError, or another Exception, for a damaged program."""
        for opcode, argument, _ in pickletools.genops(self.archive.read(self.records["data.pkl"])):
            if opcode.name == "STOP":
                return self.stack.pop()
            if opcode.name not in _INSTRUCTIONS:
                raise ValueError(f"its data.pkl has the instruction {opcode.name}{_ADVICE}")
            _INSTRUCTIONS[opcode.name](self, argument)
        raise ValueError("its data.pkl does not end")

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def remember(self, number: Any) -> None:
        self.memo[number] = self.stack[-1]

    def mark(self, _: Any) -> None:
        self.marks.append(self.stack)
        self.stack = []

    def since_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.marks.pop()
        return items

    def last(self, count: int) -> list[Any]:
        if count > len(self.stack):
            raise ValueError("its data.pkl is damaged")
        return [self.stack.pop() for _ in range(count)][::-1]

    def append(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise ValueError(f"its data.pkl appends to a {type(self.stack[-1]).__name__}{_ADVICE}")
        self.stack[-1].extend(items)

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not dict or len(items) % 2:
            raise ValueError(f"its data.pkl sets items of a {type(target).__name__}{_ADVICE}")
        for key, value in zip(items[::2], items[1::2]):
            if type(key) not in (str, int):  # hashing nested tuples can take exponential time
                raise ValueError(f"a key is a {type(key).__name__}{_ADVICE}")
            target[key] = value

    def name(self, argument: str) -> None:
        name = argument.replace(" ", ".", 1)
        if name not in _FUNCTIONS and name not in _TYPES and name != _RAGGED:
            raise ValueError(f"it uses {name[:100]}{_ADVICE}")
        self.push(_Name(name))

    def call(self, _: Any) -> None:
        function, arguments = self.last(2)
        if type(function) is not _Name or function.name not in _FUNCTIONS or type(arguments) is not tuple:
            raise ValueError("its data.pkl calls an object that is not a function")
        self.push(_FUNCTIONS[function.name](self, *arguments))

    def new_object(self, _: Any) -> None:
        kind, arguments = self.last(2)
        if type(kind) is not _Name or kind.name != _RAGGED or type(arguments) is not tuple or arguments:
            raise ValueError(f"its data.pkl makes an object that is no tensor{_ADVICE}")
        self.push(Ragged())

    def set_attributes(self, _: Any) -> None:
        state, target = self.last(2)[::-1]
        if type(target) is Ragged:  # row splits, each with the name of the row ids that are left out, and values
            tensors = state[::2] if type(state) is tuple and len(state) % 2 else ()
            if len(tensors) < 2 or not all(isinstance(x, Tensor) and x.dim() == 1 for x in tensors):
                raise ValueError("its data.pkl describes an impossible ragged tensor")
            target.row_splits, target.values = tuple(tensors[:-1]), tensors[-1]
        elif type(target) is not dict:  # of a dict: version numbers of modules in a state dict, not needed
            raise ValueError(f"its data.pkl sets attributes of a {type(target).__name__}{_ADVICE}")
        self.push(target)

    def load_storage(self, _: Any) -> None:
        """Push the storage of ("storage", type, name of the file in data/, device, number of values)."""
        word, kind, key, _, count = self.stack.pop()
        if word != "storage" or type(kind) is not _Name or type(key) is not str or type(count) is not int:
            raise ValueError("its data.pkl refers to an object that is not a storage")
        dtype, entry = _TYPES[kind.name], self.records[f"data/{key}"]
        if (kind.name, key) not in self.storages:
            itemsize = torch.empty(0, dtype=dtype).element_size()
            if count < 0 or entry.file_size != count * itemsize:
                raise ValueError(f"storage {key[:40]} has {entry.file_size} bytes, not {count} values of {kind.name}")
            self.spend(entry.file_size)
            storage = _Storage(dtype, count, lambda: self.values(entry, dtype))
            if not self.lazy:  # tensors share its memory
                values = storage.load()
                storage = storage._replace(load=lambda: values)
            self.storages[kind.name, key] = storage
        self.push(self.storages[kind.name, key])

    def values(self, entry: zipfile.ZipInfo, dtype: torch.dtype) -> Tensor:
        """The values of a storage, (N,)."""
        content = bytearray(self.archive.read(entry))  # as long as the directory says, or zipfile raises an error
        stored = torch.uint8 if dtype == torch.bool else dtype  # a bool must not have bytes other than 0 and 1
        values = torch.frombuffer(content, dtype=stored) if content else torch.empty(0, dtype=stored)
        return values != 0 if dtype == torch.bool else values

    def spend(self, size: int) -> None:
        self.budget -= size
        if self.budget < 0:
            raise ValueError("its tensors have more values than the file has room for")

    def tensor(self, storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Union[Tensor, Stored]:
        """torch._utils._rebuild_tensor_v2: a view of a storage. Further arguments, for gradients, are ignored."""
        whole = type(storage) is _Storage and type(shape) is tuple and type(strides) is tuple
        numbers = [offset, *shape, *strides] if whole else [None]
        if any(type(n) is not int or n < 0 for n in numbers) or len(shape) != len(strides):
            raise ValueError("its data.pkl describes an impossible tensor")
        size = math.prod(shape)
        last = offset + sum((n - 1) * step for n, step in zip(shape, strides))
        if size and (last >= storage.num_values or size > storage.num_values):
            raise ValueError(f"a tensor has {size} values, up to place {last}, in a storage of {storage.num_values}")
        self.spend(size * torch.empty(0, dtype=storage.dtype).element_size())

        def view() -> Tensor:
            return (
                storage.load().as_strided(shape, strides, offset) if size else torch.empty(shape, dtype=storage.dtype)
            )

        return Stored(shape, storage.dtype, lambda: view().clone()) if self.lazy else view()

    def parameter(self, tensor: Any, *_: Any) -> Union[Tensor, Stored]:
        if not isinstance(tensor, (Tensor, Stored)):
            raise ValueError("its data.pkl makes a parameter of an object that is not a tensor")
        return tensor

    def dictionary(self) -> dict[Any, Any]:
        return {}

    def size(self, shape: Any) -> tuple[Any, ...]:
        return tuple(shape)


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": PickleMachine.dictionary,
    "torch.Size": PickleMachine.size,
    "torch._utils._rebuild_tensor_v2": PickleMachine.tensor,
    "torch._utils._rebuild_parameter": PickleMachine.parameter,
}
_INSTRUCTIONS: dict[str, Callable[[PickleMachine, Any], None]] = {
    "PROTO": lambda m, _: None,
    "FRAME": lambda m, _: None,
    **dict.fromkeys(
        ("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE"), PickleMachine.push
    ),
    "NONE": lambda m, _: m.push(None),
    "NEWOBJ": PickleMachine.new_object,
    "NEWTRUE": lambda m, _: m.push(True),
    "NEWFALSE": lambda m, _: m.push(False),
    "EMPTY_DICT": lambda m, _: m.push({}),
    "EMPTY_LIST": lambda m, _: m.push([]),
    "EMPTY_TUPLE": lambda m, _: m.push(()),
    "TUPLE1": lambda m, _: m.push(tuple(m.last(1))),
    "TUPLE2": lambda m, _: m.push(tuple(m.last(2))),
    "TUPLE3": lambda m, _: m.push(tuple(m.last(3))),
    "MARK": PickleMachine.mark,
    "TUPLE": lambda m, _: m.push(tuple(m.since_mark())),
    "APPEND": lambda m, _: m.append(m.last(1)),
    "APPENDS": lambda m, _: m.append(m.since_mark()),
    "SETITEM": lambda m, _: m.set_items(m.last(2)),
    "SETITEMS": lambda m, _: m.set_items(m.since_mark()),
    "BINPUT": PickleMachine.remember,
    "LONG_BINPUT": PickleMachine.remember,
    "MEMOIZE": lambda m, _: m.remember(len(m.memo)),
    "BINGET": lambda m, n: m.push(m.memo[n]),
    "LONG_BINGET": lambda m, n: m.push(m.memo[n]),
    "GLOBAL": PickleMachine.name,
    "STACK_GLOBAL": lambda m, _: m.name(" ".join(m.last(2))),
    "REDUCE": PickleMachine.call,
    "BUILD": PickleMachine.set_attributes,
    "BINPERSID": PickleMachine.load_storage,
}
