"""The word error rate of a speech recognition model on the digits, letters and phonetic letters of asterisk-core-sounds-en.

    python tests/tools/score_prompts.py FOLDER [MODEL]

FOLDER is the one that holds ``digits``, ``letters`` and ``phonetic``: the file names say what is spoken. Numbers count alike as
words and as figures, single letters by their sound: a recording of one letter has no context that tells "see" from "C".
"""

from __future__ import annotations

import sys
from pathlib import Path

import nyala
from nyala.audio.scores import distance, words

ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
TH = (
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth fifteenth sixteenth "
    "seventeenth eighteenth nineteenth twentieth"
)
TENTHS = "thirtieth fortieth fiftieth sixtieth seventieth eightieth ninetieth"
DAYS = "sunday monday tuesday wednesday thursday friday saturday"
MONTHS = "january february march april may june july august september october november december"
ALPHABET = (
    "alpha bravo charlie delta echo foxtrot golf hotel india juliet kilo lima mike november oscar papa quebec romeo sierra tango "
    "uniform victor whiskey xray yankee zulu"
)
WORDS = "billion hundred million thousand minus oh pound star today tomorrow yesterday dollars at"
SOUNDS = {
    "a": "ay hey", "b": "be bee", "c": "see sea", "d": "dee", "e": "he", "f": "eff", "g": "gee", "h": "age", "i": "eye",
    "j": "jay", "k": "kay okay", "l": "el elle", "m": "em", "n": "en and", "o": "oh", "p": "pee", "q": "cue queue",
    "r": "are", "s": "es", "t": "tea tee", "u": "you", "v": "vee", "w": "double you", "x": "ex", "y": "why", "z": "zee",
}  # fmt: skip
SYMBOLS = {
    "asterisk": "asterisk", "at": "at", "dash": "dash", "dollar": "dollar", "dot": "dot", "equals": "equals",
    "exclaimation-point": "exclamation point", "plus": "plus", "slash": "slash", "space": "space", "zed": "zed",
}  # fmt: skip
SPELT = {"alfa": "alpha", "juliett": "juliet", "whisky": "whiskey", "x-ray": "xray"}


def numbers() -> dict[str, str]:
    """Figures -> words."""
    found = {str(i): w for i, w in enumerate(ONES.split())}
    found |= {str(10 * i): w for i, w in enumerate(TENS.split(), 2)}
    tails = {1: "st", 2: "nd", 3: "rd"}
    found |= {"100": "hundred", "100th": "hundredth"}
    found |= {f"{i}{tails.get(i, 'th')}": w for i, w in enumerate(TH.split(), 1)}
    return found | {f"{10 * i}th": w for i, w in enumerate(TENTHS.split(), 3)}


def spoken(path: Path) -> str | None:
    """What a recording says; None for one whose name does not tell."""
    name, figures = path.stem, numbers()
    if path.parent.name == "phonetic":
        return next((w for w in ALPHABET.split() if name == f"{w[0]}_p"), None)
    if path.parent.name == "letters":
        return name if len(name) == 1 else SYMBOLS.get(name)
    if name in figures:
        return figures[name]
    for mark, row in (("day-", DAYS), ("mon-", MONTHS)):
        if name.startswith(mark):
            return row.split()[int(name[len(mark) :])]
    if name.startswith("h-"):
        ends = {"1": "st", "2": "nd", "3": "rd"}
        return figures.get(name[2:] + ends.get(name[2:], "th"), f"{name[2:]}th" if name[2:] in WORDS.split() else None)
    return {"a-m": "a m", "p-m": "p m", "oclock": "o'clock"}.get(name, name if name in WORDS.split() else None)


def heard(text: str, said: str) -> list[str]:
    figures = numbers()
    found = [figures.get(w, SPELT.get(w, w)) for w in words(text.replace("x-ray", "xray").replace("X-ray", "xray"))]
    if " ".join(found) in SOUNDS.get(said, "").split(" ") or " ".join(found) == SOUNDS.get(said):
        return [said]
    return list("".join(found)) if "".join(found) in ("am", "pm") else found


def main(folder: Path, model: str = "whisper-tiny.en") -> None:
    pipe = nyala.load(model)
    for group in ("digits", "letters", "phonetic"):
        paths = [(p, said) for p in sorted((folder / group).glob("*.wav")) if (said := spoken(p))]
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
