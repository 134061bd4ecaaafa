"""Compiled programs that are kept from one start to the next."""

from __future__ import annotations

import hashlib
import os
import pathlib
import platform
import sys

_MAX_BYTES = 2**30
_MIN_COMPILE_SECONDS = 0.2


def keep_compiled_programs() -> None:
    """Makes jax keep compiled programs in the user's cache folder; to be called before anything is compiled.

    Compiling takes most of the time from the start of a run to its first step, and is the same each time. The least
    recently used programs go when all take a gigabyte.

    Nothing changes where the environment says where programs are kept, JAX_COMPILATION_CACHE_DIR, or where the folder
    cannot be written.
    """
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    try:
        folder = _cache_folder() / "wae_jax" / f"programs-{_processor()}"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # no home
        return
    if not os.access(folder, os.W_OK | os.X_OK):
        return
    settings = {
        "compilation_cache_dir": os.fspath(folder),
        "compilation_cache_max_size": _MAX_BYTES,
        "persistent_cache_min_compile_time_secs": _MIN_COMPILE_SECONDS,
    }
    # jax reads these when it is imported, which a command without a model never does.
    os.environ |= {f"JAX_{name.upper()}": str(value) for name, value in settings.items()}
    if jax := sys.modules.get("jax"):
        for name, value in settings.items():
            jax.config.update(f"jax_{name}", value)


def _cache_folder() -> pathlib.Path:
    given = os.environ.get("XDG_CACHE_HOME", "")
    return pathlib.Path(given) if os.path.isabs(given) else pathlib.Path.home() / ".cache"


def _processor() -> str:
    """A digest of the processor's instruction set, in which hosts that share a home folder may differ."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    features = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return hashlib.sha256(f"{platform.machine()} {platform.processor()} {features}".encode()).hexdigest()[:12]
