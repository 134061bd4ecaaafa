"""The answer key of a survey and the results files of its listeners: reading them, and reasons to refuse them.

The key says which source each clip is of. It is part of the page and of every results file, compressed and encoded so
that nobody reads it by accident; it is no secret. The survey's id is a digest of the key, so that no other key fits. A
results file has a checksum of its content, which detects damage and careless edits; it is no signature.
"""

from __future__ import annotations

import base64
import collections
import dataclasses
import hashlib
import json
import pathlib
import zlib
from collections.abc import Sequence
from typing import Any

from wae_jax.errors import RequestError
from wae_jax.files import parse_json
from wae_jax.listening.survey.design import NOISE, Pair, is_check

# Rated from 1 to 5. MuseGAN's listeners (Dong et al. 2018, arXiv 1709.06298) were asked the same, and for an overall
# rating of each clip; here they choose between two clips, which people do more reliably.
QUESTIONS = {
    "harmony": "Do the notes sound good together?",
    "rhythm": "Does the rhythm fit together?",
    "structure": "Does it have a clear musical structure?",
    "coherence": "Does it sound like one piece from start to end?",
}
PREFERENCES = ("A", "B", "none")
RESULTS_FORMAT = "wae_jax survey results"
KEY_FORMAT = "wae_jax survey key"
FORMAT_VERSION = 1
# The checksum is over the values of these fields, in this order, as in survey_answers.js.
RESULT_FIELDS = ("format", "format_version", "survey", "listener", "saved", "answers", "key")

# Far more than listeners compare: a pair of each two takes hours. Scores take memory and time with the square of it.
MAX_SOURCES = 20
_MAX_FILE_SIZE = 10_000_000  # bytes; also of the decompressed key


@dataclasses.dataclass(frozen=True)
class Key:
    """The answer key.

    Attributes:
      sources: names of the sources; the last is the real music.
      pairs: the sources on sides A and B of each pair, in the order of the page; `NOISE` in attention checks.
      max_failed_checks: listeners who fail more are left out.
      provenance: everything needed to make the survey again.
    """

    sources: Sequence[str]
    pairs: Sequence[Pair]
    max_failed_checks: int
    provenance: dict[str, Any]

    @property
    def check_numbers(self) -> list[int]:
        """Numbers of the pairs that are attention checks, from 1."""
        return [number for number, pair in enumerate(self.pairs, 1) if is_check(pair)]

    @property
    def rule(self) -> str:
        """The rule by which listeners are left out, for the page's first screen and above all scores."""
        return (
            f"listeners who do not prefer the music in more than {self.max_failed_checks} of the "
            f"{len(self.check_numbers)} pairs of music and noise are not counted"
        )

    @property
    def survey_id(self) -> str:
        """A digest of the key."""
        return hashlib.sha256(self.content().encode()).hexdigest()[:16]

    def content(self) -> str:
        """The key as JSON."""
        content = {"format": KEY_FORMAT, "format_version": FORMAT_VERSION, **dataclasses.asdict(self)}
        return json.dumps(content, sort_keys=True, separators=(",", ":"))


@dataclasses.dataclass(frozen=True)
class Answer:
    """The answer to one pair."""

    preference: str  # one of `PREFERENCES`
    ratings: tuple[Sequence[int], Sequence[int]]  # of A and of B, one for each of `QUESTIONS`


@dataclasses.dataclass(frozen=True)
class Result:
    """The results file of one listener."""

    path: str
    survey_id: str  # digest of the survey's key
    listener: str  # random id given by the browser
    saved: str  # time of saving, ISO 8601 in UTC
    answers: Sequence[Answer]  # one for each pair of the key
    key: Key


@dataclasses.dataclass(frozen=True)
class Collection:
    """The results files of one survey."""

    key: Key
    results: Sequence[Result]  # one for each listener, including those who fail the attention checks
    skipped: Sequence[tuple[str, str]]  # path and reason of each file not used


def seal(text: str) -> str:
    """Compressed and encoded text."""
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def unseal(sealed: str) -> str:
    """The text that `seal` was given.

    Raises:
      ValueError: if this is no output of `seal`, or its text is too long.
    """
    try:
        unpacker = zlib.decompressobj()
        unpacked = unpacker.decompress(base64.b64decode(sealed, validate=True), _MAX_FILE_SIZE)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if not unpacker.eof:
        raise ValueError("it is cut short, or far too long")
    return unpacked.decode()


def checksum(value: Any) -> str:
    """FNV-1a, 32 bits, of a value as JSON without spaces, as survey_answers.js computes it."""
    state = 0x811C9DC5
    for byte in json.dumps(value, separators=(",", ":")).encode("ascii"):
        state = (state ^ byte) * 0x01000193 & 0xFFFFFFFF
    return f"{state:08x}"


def read_result(path: str) -> Result:
    """The answers of one listener, if they are complete and unaltered.

    Raises:
      RequestError: if they are not; the message gives the reason, without the path.
    """
    value = _read_object(path)
    if value.get("format") != RESULTS_FORMAT:
        raise RequestError("is no results file of a survey; expected what the last screen of the page saves")
    if (version := value.get("format_version")) != FORMAT_VERSION:
        raise RequestError(f"is a results file of version {version!r:.50}; expected version {FORMAT_VERSION}")
    if value.get("checksum") != checksum([value.get(field) for field in RESULT_FIELDS]):
        raise RequestError("was altered or damaged, by its checksum; expected the file as the page saved it")
    texts = [text for field in ("survey", "listener", "saved", "key") if isinstance(text := value.get(field), str)]
    if len(texts) < 4 or not value["listener"]:
        raise RequestError("does not say of which survey, by whom, and when; expected the file as the page saved it")
    survey_id, listener, saved, sealed = texts
    key = _open_key(sealed, survey_id)
    answers = value.get("answers")
    if not isinstance(answers, list) or len(answers) != len(key.pairs):
        found = len(answers) if isinstance(answers, list) else "no"
        raise RequestError(f"has {found} answers; expected {len(key.pairs)}, one for each pair")
    for number, answer in enumerate(answers, 1):
        if not _is_answer(answer):
            raise RequestError(
                f"has no complete answer to pair {number}: expected a preference, and {len(QUESTIONS)} ratings from 1 "
                "to 5 for each clip"
            )
    return Result(path, survey_id, listener, saved, [Answer(row[0], (row[1], row[2])) for row in answers], key)


def _read_object(path: str) -> dict[str, Any]:
    try:
        with pathlib.Path(path).open("rb") as file:
            content = file.read(_MAX_FILE_SIZE + 1)
        value = parse_json(content)
    except OSError as error:
        raise RequestError(f"cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise RequestError(f"is not JSON: {error}") from error
    if len(content) > _MAX_FILE_SIZE or not isinstance(value, dict):
        raise RequestError("is no results file of a survey; expected what the last screen of the page saves")
    return value


def _open_key(sealed: str, survey_id: str) -> Key:
    """The key in a results file; RequestError if it is not that of the survey."""
    try:
        content = parse_json(unseal(sealed))
        if content.pop("format") != KEY_FORMAT or content.pop("format_version") != FORMAT_VERSION:
            raise ValueError("it is of another version")
        if not _is_key(content):
            raise ValueError("it has another form")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RequestError(f"has no answer key: {error}; expected the file as the page saved it") from error
    key = Key(**{**content, "pairs": [(a, b) for a, b in content["pairs"]]})
    if key.survey_id != survey_id:
        raise RequestError("has the answer key of another survey; expected the file as the page saved it")
    return key


def _is_key(content: dict[str, Any]) -> bool:
    """Whether these are the fields of a `Key` in which all sources are compared; TypeError for some that are not."""
    sources, pairs = content["sources"], content["pairs"]
    compared = {frozenset(pair) for pair in pairs if not is_check(pair)}
    return (
        content.keys() == {field.name for field in dataclasses.fields(Key)}
        and isinstance(sources, list)
        and 1 < len(sources) <= MAX_SOURCES
        and all(isinstance(name, str) for name in sources)
        and all(len(pair) == 2 and all(type(side) is int for side in pair) for pair in pairs)
        and all(len(pair) == 2 and 0 <= min(pair) < max(pair) < len(sources) for pair in compared)
        # Counted rather than listed, since a forged key may name any number of sources.
        and len(compared) == len(sources) * (len(sources) - 1) // 2
        and all(set(pair) == {len(sources) - 1, NOISE} for pair in pairs if is_check(pair))
        and type(content["max_failed_checks"]) is int
        and isinstance(content["provenance"], dict)
    )


def _is_answer(row: Any) -> bool:
    """Whether this is [preference, ratings of A, ratings of B]."""
    return (
        isinstance(row, list)
        and len(row) == 3
        and row[0] in PREFERENCES
        and all(isinstance(ratings, list) and len(ratings) == len(QUESTIONS) for ratings in row[1:])
        and all(type(rating) is int and 1 <= rating <= 5 for ratings in row[1:] for rating in ratings)
    )


def collect(paths: Sequence[str]) -> Collection:
    """Reads results files, any of which may be unusable.

    Of several surveys, the one with most files is taken (the first of equals); of several files of one listener, the
    one saved last.

    Raises:
      RequestError: if no file is usable; the message gives the reason for each.
    """
    read: list[Result] = []
    skipped: list[tuple[str, str]] = []
    for path in paths:
        try:
            read.append(read_result(path))
        except RequestError as error:
            skipped.append((path, str(error)))
    if not read:
        reasons = "".join(f"\n  {path} {reason}" for path, reason in skipped)
        raise RequestError(f"none of {len(skipped)} files has the answers of a listener:{reasons}")
    survey_id, count = collections.Counter(result.survey_id for result in read).most_common(1)[0]
    last: dict[str, Result] = {}
    for result in read:
        if result.survey_id == survey_id:
            last[result.listener] = max(last.get(result.listener, result), result, key=lambda each: each.saved)
    for result in read:
        if result.survey_id != survey_id:
            skipped.append((result.path, f"is of survey {result.survey_id}; {count} of the files are of {survey_id}"))
        elif last[result.listener] is not result:
            used = last[result.listener].path
            skipped.append((result.path, f"is by the same listener as {used}, which was saved later and is used"))
    kept = list(last.values())
    return Collection(kept[0].key, kept, skipped)


def count_failed_checks(result: Result) -> int:
    """The number of attention checks in which a listener did not prefer the music; no preference is a failure."""
    return sum(
        answer.preference != ("B" if pair[0] == NOISE else "A")
        for answer, pair in zip(result.answers, result.key.pairs, strict=True)
        if is_check(pair)
    )
