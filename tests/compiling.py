"""How XLA compiles for the tests, and for the processes that they start: quickly, and each program once."""

import os

import jax

# Most programs of the tests run for milliseconds, so that it is their compilation that takes the time.
_FLAGS = (
    "--xla_backend_optimization_level=0",
    # With more, a product and a sum share one rounding in one program and not in another, where the processor can.
    "--xla_cpu_max_isa=AVX",
    # The emitters of loops that go by MLIR take three times as long for a training step as those that do without. Later
    # versions have no others, and a process ends at a flag that it does not know.
    *(("--xla_cpu_use_fusion_emitters=false",) if jax.__version_info__ < (0, 11) else ()),
)


def compile_quickly() -> None:
    """Sets XLA's flags; to be called before the first use of a device."""
    os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *_FLAGS])


def share(cache: str) -> None:
    """Keeps compiled programs in a folder: many tests, and the processes that some start, compile the same ones."""
    for name, value in {"compilation_cache_dir": cache, "persistent_cache_min_compile_time_secs": 0.2}.items():
        os.environ[f"JAX_{name.upper()}"] = str(value)
        jax.config.update(f"jax_{name}", value)
