"""Sound by the FluidSynth program, which adds reverberation and lets sounds die away."""

from __future__ import annotations

import pathlib
import shutil
import subprocess
import tempfile
from collections.abc import Sequence

import numpy as np

from wae_jax.errors import SoundFontError
from wae_jax.pianoroll import BinaryPieces
from wae_jax.render.audio_arrays import Stereo
from wae_jax.render.midi import write_midi
from wae_jax.render.sound_font import read_font

PROGRAM = "fluidsynth"
# Far below what clips: all is set to one peak in the end.
_GAIN = "0.2"


def version() -> str:
    """Name and version of the synthesizer."""
    words = subprocess.run([PROGRAM, "--version"], capture_output=True, text=True, check=False).stdout.split()
    return f"FluidSynth {words[3]}" if words[:3] == ["FluidSynth", "runtime", "version"] else "FluidSynth"


def missing(font: str | None) -> str | None:
    """Reason why this synthesizer cannot play a font; None if it can.

    Args:
      font: a SoundFont 2 file; None for pretty_midi's.
    """
    if shutil.which(PROGRAM) is None:
        return (
            f"there is no program {PROGRAM}; install FluidSynth with the system's packages "
            "(apt install fluidsynth, brew install fluid-synth)"
        )
    try:
        read_font(font)
    except (SoundFontError, OSError) as error:
        return str(error)
    return None


def mix(
    rolls: BinaryPieces, *, tempo: float, programs: Sequence[int], font: str | None, sample_rate: int, num_samples: int
) -> Stereo:
    """Plays phrases in a row; see `synth_symusic.mix`.

    Raises:
      RuntimeError: if the program fails, with its error output.
    """
    import soundfile

    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        score, font_file, sound = folder / "score.mid", folder / "font.sf2", folder / "sound.wav"
        write_midi(score, rolls, tempo=tempo, programs=programs)
        font_file.write_bytes(read_font(font))
        settings = ["-g", _GAIN, "-r", str(sample_rate), "-T", "wav", "-O", "float"]
        command = [PROGRAM, "-n", "-i", "-q", *settings, "-F", str(sound), str(font_file), str(score)]
        output = subprocess.run(command, capture_output=True, text=True, check=False)
        # Its exit status is 0 whatever happens.
        if "error" in output.stderr or not sound.is_file():
            raise RuntimeError(f"{PROGRAM} failed: {output.stderr.strip() or f'exit status {output.returncode}'}")
        samples, _ = soundfile.read(sound, dtype="float32", always_2d=True)
    total = np.zeros((num_samples, 2), np.float32)
    total[: len(samples)] = samples[:num_samples]
    return total
