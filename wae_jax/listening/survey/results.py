"""The answer key of a survey and the files that its listeners hand in: reading them, and what is refused.

The key says which source each clip is of. It travels in the page and in every results file, compressed and in letters
that nobody reads by accident; it is not secret from whoever wants to know it. The survey's name is the digest of the
key, so that no other key fits. A results file has a checksum over all it holds, which finds damage and careless edits;
it is no signature, and does not keep a determined listener from forging answers.
"""

from __future__ import annotations

import base64
import collections
import dataclasses
import hashlib
import itertools
import json
import pathlib
import zlib
from collections.abc import Sequence
from typing import Any

from wae_jax.errors import RequestError
from wae_jax.listening.survey.design import NOISE, Pair, is_check

# What listeners rate, from 1 to 5. MuseGAN's listeners did (Dong et al. 2018, arXiv 1709.06298), and gave each clip an
# overall rating too; here they say which of two they prefer, which people do more reliably.
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
# What the checksum is over, in this order; the page has the same.
RESULT_FIELDS = ("format", "format_version", "survey", "listener", "saved", "answers", "key")

_LARGEST_FILE = 10_000_000  # bytes, also of a key when it is unpacked


@dataclasses.dataclass(frozen=True)
class Key:
    """What listeners may not know.

    Attributes:
      sources: their names; the last is the real music.
      pairs: which source stands on side A and on side B of each pair, in the order of the page; `NOISE` in checks.
      max_failed_checks: who fails more is left out.
      provenance: what it takes to make the survey again.
    """

    sources: Sequence[str]
    pairs: Sequence[Pair]
    max_failed_checks: int
    provenance: dict[str, Any]

    @property
    def check_places(self) -> list[int]:
        """Which pairs compare music with noise, from 1."""
        return [place for place, pair in enumerate(self.pairs, 1) if is_check(pair)]

    @property
    def rule(self) -> str:
        """Who is left out; printed on the page's first screen and above all results."""
        return (
            f"who does not prefer the music in more than {self.max_failed_checks} of the {len(self.check_places)} "
            "pairs of music and noise is not counted"
        )

    def content(self) -> str:
        """The key as JSON."""
        content = {"format": KEY_FORMAT, "format_version": FORMAT_VERSION, **dataclasses.asdict(self)}
        return json.dumps(content, sort_keys=True, separators=(",", ":"))

    def survey(self) -> str:
        """The name of the survey: a digest of its key."""
        return hashlib.sha256(self.content().encode()).hexdigest()[:16]


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a listener said of one pair.

    Attributes:
      preference: one of `PREFERENCES`.
      ratings: of A and of B, one to each of `QUESTIONS`.
    """

    preference: str
    ratings: tuple[Sequence[int], Sequence[int]]


@dataclasses.dataclass(frozen=True)
class Result:
    """What one listener handed in.

    Attributes:
      path: of the file.
      survey: its name.
      listener: a random number that the browser gave them.
      saved: when, in ISO 8601, UTC.
      answers: one a pair, in the order of the key.
      key: of the survey.
    """

    path: str
    survey: str
    listener: str
    saved: str
    answers: Sequence[Answer]
    key: Key


@dataclasses.dataclass(frozen=True)
class Collection:
    """The files of one survey.

    Attributes:
      key: of the survey.
      results: one a listener, those in it who failed the checks.
      skipped: path and reason of each file that is not used.
    """

    key: Key
    results: Sequence[Result]
    skipped: Sequence[tuple[str, str]]


def seal(text: str) -> str:
    """Text in letters that nobody reads by accident."""
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def unseal(sealed: str) -> str:
    """Undoes `seal`.

    Raises:
      ValueError: if it was not made by `seal`.
    """
    try:
        unpacker = zlib.decompressobj()
        unpacked = unpacker.decompress(base64.b64decode(sealed, validate=True), _LARGEST_FILE)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if not unpacker.eof:
        raise ValueError("it is cut short, or far too long")
    return unpacked.decode()


def checksum(value: Any) -> str:
    """FNV-1a, 32 bits, of a value as JSON without spaces: the same few lines as in the page."""
    state = 0x811C9DC5
    for byte in json.dumps(value, separators=(",", ":")).encode("ascii"):
        state = (state ^ byte) * 0x01000193 & 0xFFFFFFFF
    return f"{state:08x}"


def read_result(path: str) -> Result:
    """One listener's answers, complete and as they were saved.

    Raises:
      RequestError: if they are not; the message says why, without the path.
    """
    value = _read_object(path)
    if value.get("format") != RESULTS_FORMAT or value.get("format_version") != FORMAT_VERSION:
        raise RequestError("is no results file of a survey; expected what the last screen of the page saves")
    if value.get("checksum") != checksum([value.get(field) for field in RESULT_FIELDS]):
        raise RequestError("was altered or damaged: its checksum is another; expected it as the page saved it")
    survey, listener, saved, sealed = (value[field] for field in ("survey", "listener", "saved", "key"))
    if not all(isinstance(text, str) for text in (survey, listener, saved, sealed)) or not listener:
        raise RequestError("does not say of which survey, by whom, and when; expected it as the page saved it")
    key = _open_key(sealed, survey)
    answers = value["answers"]
    if not isinstance(answers, list) or len(answers) != len(key.pairs):
        held = len(answers) if isinstance(answers, list) else "no"
        raise RequestError(f"has {held} answers; expected {len(key.pairs)}, one for each pair")
    for place, answer in enumerate(answers, 1):
        if not _is_answer(answer):
            raise RequestError(
                f"has no complete answer to pair {place}: expected a preference, and for either clip "
                f"{len(QUESTIONS)} ratings from 1 to 5"
            )
    return Result(path, survey, listener, saved, [Answer(row[0], (row[1], row[2])) for row in answers], key)


def _read_object(path: str) -> dict[str, Any]:
    try:
        with pathlib.Path(path).open("rb") as file:
            content = file.read(_LARGEST_FILE + 1)
        value = json.loads(content)
    except OSError as error:
        raise RequestError(f"cannot be read: {error.strerror}") from error
    # Brackets a thousand deep are beyond the parser.
    except (ValueError, RecursionError) as error:
        raise RequestError(f"is not JSON: {error}") from error
    if len(content) > _LARGEST_FILE or not isinstance(value, dict):
        raise RequestError("is no results file of a survey; expected what the last screen of the page saves")
    return value


def _open_key(sealed: str, survey: str) -> Key:
    """The key that a results file carries; a RequestError if it is not that of the survey."""
    try:
        content = json.loads(unseal(sealed))
        if content.pop("format") != KEY_FORMAT or content.pop("format_version") != FORMAT_VERSION:
            raise ValueError("it is of another version")
        if not _is_key(content):
            raise ValueError("it is of another form")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RequestError(f"carries no answer key: {error}; expected it as the page saved it") from error
    key = Key(**{**content, "pairs": [(a, b) for a, b in content["pairs"]]})
    if key.survey() != survey:
        raise RequestError("carries the answer key of another survey; expected it as the page saved it")
    return key


def _is_key(content: dict[str, Any]) -> bool:
    """Whether these are the fields of a `Key` that can be scored: every two sources meet. May raise TypeError."""
    sources, pairs = content["sources"], content["pairs"]
    meetings = {frozenset(pair) for pair in itertools.combinations(range(len(sources)), 2)}
    return (
        content.keys() == {field.name for field in dataclasses.fields(Key)}
        and isinstance(sources, list)
        and len(sources) > 1
        and all(isinstance(name, str) for name in sources)
        and all(len(pair) == 2 and all(type(side) is int for side in pair) for pair in pairs)
        and {frozenset(pair) for pair in pairs if not is_check(pair)} == meetings
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
        and all(
            isinstance(ratings, list)
            and len(ratings) == len(QUESTIONS)
            and all(type(rating) is int and 1 <= rating <= 5 for rating in ratings)
            for ratings in row[1:]
        )
    )


def collect(paths: Sequence[str]) -> Collection:
    """Reads files, of which any may be bad.

    Of several surveys, the one of most files is taken, of equally many the first. Of several files of one listener,
    the one saved last.

    Raises:
      RequestError: if there is not one file to use; the message says what is wrong with each.
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
        raise RequestError(f"none of {len(skipped)} files holds a listener's answers:{reasons}")
    survey, files = collections.Counter(result.survey for result in read).most_common(1)[0]
    last: dict[str, Result] = {}
    for result in read:
        if result.survey == survey:
            last[result.listener] = max(last.get(result.listener, result), result, key=lambda each: each.saved)
    for result in read:
        if result.survey != survey:
            skipped.append((result.path, f"is of survey {result.survey}; {files} of the files are of {survey}"))
        elif last[result.listener] is not result:
            used = last[result.listener].path
            skipped.append((result.path, f"is by the same listener as {used}; what was saved last counts"))
    kept = list(last.values())
    return Collection(kept[0].key, kept, skipped)


def failed_checks(result: Result) -> int:
    """In how many pairs of music and noise a listener did not prefer the music; to have no preference is a failure."""
    return sum(
        answer.preference != ("B" if pair[0] == NOISE else "A")
        for answer, pair in zip(result.answers, result.key.pairs, strict=True)
        if is_check(pair)
    )
