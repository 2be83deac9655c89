"""Files that run code when they are loaded carelessly: a pickle, and a TorchScript archive."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import torch


class Command:
    """Unpickled, it makes a file."""

    def __init__(self, target: Path):
        self.target = target

    def __reduce__(self):
        return os.system, (f"touch {self.target}",)


class _Writer(torch.nn.Module):
    """Its __setstate__, which the TorchScript loader runs, makes a file by torch.from_file."""

    def __init__(self, target: str):
        super().__init__()
        self.target, self.written = target, torch.zeros(1)

    @torch.jit.export
    def __getstate__(self):
        return self.target, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]):
        target, self.training = state
        self.target = target
        self.written = torch.from_file(target, True, 8).fill_(1.0)  # kept, or the compiler would leave it out

    def forward(self, x):
        return x


def torchscript(path: Path, target: Path) -> None:
    """A TorchScript archive that makes the file `target` when it is loaded."""
    with torch.jit.optimized_execution(False):
        torch.jit.script(_Writer(str(target))).save(str(path))
    Path(target).unlink(missing_ok=True)  # if making the archive did it


def hostile_files(folder: Path, target: Path) -> list[Path]:
    """A TorchScript archive, a torch.save archive and a bare pickle that make `target`, if they are run."""
    folder.mkdir()
    torchscript(folder / "script", target)
    torch.save({"json": "{}", "tensors": [Command(target)]}, folder / "zip")
    (folder / "pickle").write_bytes(pickle.dumps(Command(target)))
    return [folder / name for name in ("script", "zip", "pickle")]
