"""Words as retrieval sees them: cut, folded, reduced to a stem, weighed."""

from __future__ import annotations

import re

_TOKEN = re.compile(r"[^\W_]+")
# Scripts written without spaces: pairs of characters stand for words there.
_SPACELESS = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]+")

# English, and the commonest of German, French and Spanish.
_STOPPED = """
a about above after again against all also am an and any are aren as at be because been before
being below between both but by can cannot could couldn d did didn do does doesn doing don down
during each either else ever every few for from further get gets got had hadn has hasn have
haven having he her here hers herself him himself his how however i if in into is isn it its
itself just let ll m may me might more most much must my myself no nor not now of off on once
one only or other ought our ours ourselves out over own per re s same shall she should shouldn
so some such t than that the their theirs them themselves then there therefore these they this
those through thus to too under until up upon us ve very was wasn we were weren what when where
whether which while who whom whose why will with within without won would wouldn yes yet you
your yours yourself yourselves
aber als auch auf aus bei bin bis das dass dem den der des die du ein eine einem einen einer es
für hat ich im ist ja kann mit nach nicht noch nur oder sich sie sind und uns vom von vor war was
wenn wer wie wir wird zu zum zur
au aux avec ce ces dans de du elle en est et il je la le les leur lui ma mais mes ne nos nous ou
par pas pour qu que qui sa se ses son sur ta te tes tu un une vos vous
al como con del el ella es esta este las lo los más mi muy o para pero por si sin su sus también
una y ya
"""
STOP_WORDS = frozenset(_STOPPED.split())


def tokens(text: str) -> list[str]:
    """The words of a text, case-folded; spaceless scripts give overlapping pairs."""
    found: list[str] = []
    for word in _TOKEN.findall(text.casefold()):
        run = _SPACELESS.search(word)
        if run is None or len(word) < 3:
            found.append(word)
        else:
            found += [word[i : i + 2] for i in range(len(word) - 1)]
    return found


def stem(word: str) -> str:
    """A light stem: *records*, *recorded* and *recording* are one, as are *store* and *storing*."""
    if len(word) < 4 or not word.isascii():
        return word
    if word.endswith("ies") and len(word) > 4:
        word = word[:-3] + "y"
    elif word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    if word.endswith("ing") and len(word) > 5:
        word = _undoubled(word[:-3])
    elif word.endswith("ed") and len(word) > 4:
        word = _undoubled(word[:-2])
    if word.endswith("e") and len(word) > 3:
        word = word[:-1]
    return word


def _undoubled(word: str) -> str:
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "lsz":
        return word[:-1]
    return word


def telling_words(text: str) -> str:
    """The words of a question that say what it is about: without stop words, unless there is
    nothing else.
    """
    words = [word for word in re.findall(r"\w+", text) if word.casefold() not in STOP_WORDS]
    return " ".join(words) if words else text
