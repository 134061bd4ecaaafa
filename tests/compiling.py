"""How XLA compiles for the tests, and for the processes that they start: quickly, and each program once."""

import importlib.util
import mmap
import os
import pathlib
from collections.abc import Iterator

import jax

# Most programs of the tests run for milliseconds, so that it is their compilation that takes the time.
_FLAGS = (
    "xla_backend_optimization_level=0",
    # The emitters of loops that go by MLIR take three times as long for a training step as those that do without.
    "xla_cpu_use_fusion_emitters=false",
    # And these have a product and a sum share one rounding in one program and not in another, where the processor can.
    "xla_cpu_max_isa=AVX",
)


def compile_quickly() -> None:
    """Sets XLA's flags; to be called before the first use of a device."""
    os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *_known(_FLAGS)])


def _known(flags: tuple[str, ...]) -> Iterator[str]:
    """Those that this XLA has: a process ends at a flag that it does not."""
    folder = pathlib.Path(importlib.util.find_spec("jaxlib").submodule_search_locations[0])
    library = max((path for path in folder.iterdir() if path.is_file()), key=lambda path: path.stat().st_size)
    with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for flag in flags:
            if content.find(flag.partition("=")[0].encode()) >= 0:
                yield f"--{flag}"


def share(cache: str) -> None:
    """Keeps compiled programs in a folder: many tests, and the processes that some start, compile the same ones."""
    for name, value in {"compilation_cache_dir": cache, "persistent_cache_min_compile_time_secs": 0.2}.items():
        os.environ[f"JAX_{name.upper()}"] = str(value)
        jax.config.update(f"jax_{name}", value)
