"""The word error rate of a speech recognition model on the digits, letters and phonetic letters of asterisk-core-sounds-en.

    python tests/tools/score_prompts.py FOLDER [MODEL]

FOLDER is the one that holds ``digits``, ``letters`` and ``phonetic``: the file names say what is spoken. Numbers count alike as
words and as figures, single letters by their sound: a recording of one letter has no context that tells "see" from "C".
"""

from __future__ import annotations

import sys
from pathlib import Path

import nyala
from nyala.audio.datasets.utterances import GROUPS, numbers, spoken
from nyala.audio.scores import distance, words

SOUNDS = {
    "a": "ay hey", "b": "be bee", "c": "see sea", "d": "dee", "e": "he", "f": "eff", "g": "gee", "h": "age", "i": "eye",
    "j": "jay", "k": "kay okay", "l": "el elle", "m": "em", "n": "en and", "o": "oh", "p": "pee", "q": "cue queue",
    "r": "are", "s": "es", "t": "tea tee", "u": "you", "v": "vee", "w": "double you", "x": "ex", "y": "why", "z": "zee",
}  # fmt: skip
SPELT = {"alfa": "alpha", "juliett": "juliet", "whisky": "whiskey", "x-ray": "xray"}


def heard(text: str, said: str) -> list[str]:
    figures = numbers()
    found = [figures.get(w, SPELT.get(w, w)) for w in words(text.replace("x-ray", "xray").replace("X-ray", "xray"))]
    if " ".join(found) in SOUNDS.get(said, "").split(" ") or " ".join(found) == SOUNDS.get(said):
        return [said]
    return list("".join(found)) if "".join(found) in ("am", "pm") else found


def main(folder: Path, model: str = "whisper-tiny.en") -> None:
    pipe = nyala.load(model)
    for group in GROUPS:
        paths = [(p, said) for p in sorted((folder / group).glob("*.wav")) if (said := spoken(group, p.stem))]
        errors = total = 0
        for path, said in paths:
            text = pipe(path).text
            wrong = distance(words(said), heard(text, said))
            errors, total = errors + wrong, total + len(words(said))
            if wrong:
                print(f"{group}/{path.stem}: {said!r}, heard {text!r}", file=sys.stderr)
        print(
            f"{group}: {len(paths)} recordings, {errors} of {total} words wrong, word error rate {errors / total:.3f}", flush=True
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:3])
