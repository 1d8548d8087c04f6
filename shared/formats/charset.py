# ruff: noqa: RUF001 - Cyrillic letters are what they look like
"""The decoding of bytes to text, in a detected encoding. Pure.

No library guesses the encoding: charset-normalizer, restricted to the encodings that people have,
reads 162 of the 352 texts of `tests/unit/enricher/test_encodings.py` wrongly. This module reads
none wrongly, and refuses 45.
"""

import codecs
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, NamedTuple

from shared.domain.errors import DocumentRefused

MAX_DAMAGE: Final = 0.01
"""Share of U+FFFD in a text that is still accepted."""

_BOMS: Final = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it starts with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_WIDE: Final = ("utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be")
_MEANT: Final = {
    **{"ascii": "cp1252", "iso8859-1": "cp1252", "iso8859-9": "cp1254", "tis-620": "cp874"},
    **{"gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932", "euc_kr": "cp949"},
    **{"big5": "big5hkscs"},
}
"""What documents are in that name the encoding on the left, as browsers read them."""
_NAMES: Final = {
    **{f"cp125{n}": f"windows-125{n}" for n in range(9)},
    **{"cp932": "shift_jis", "cp949": "euc-kr", "euc_jp": "euc-jp", "big5hkscs": "big5"},
    **{f"iso8859-{n}": f"iso-8859-{n}" for n in range(1, 17)},
}
"""What people call the encodings of Python."""
_SAMPLE_BYTES: Final = 32 * 1024
_TEXT_CONTROLS: Final = b"\t\n\r\x0b\x0c\x08\x1a\x1b"
_NOT_TEXT = re.compile(rb"[\x00-\x07\x0e-\x19\x1c-\x1f\x7f]")
_NOT_TEXT_WIDE = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f]")
_HIGH = re.compile(rb"[\x80-\xff]")

_XML_ENCODING = re.compile(rb"\s*<\?xml\s[^>]{0,200}?encoding\s*=\s*[\"']([a-zA-Z0-9_.:-]{2,40})")
_HEAD_BYTES: Final = 16 * 1024
_META_CHARSET = re.compile(
    rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?([a-zA-Z0-9_.:-]{2,40})", re.IGNORECASE
)


class Decoded(NamedTuple):
    """A text, and how its encoding was guessed; empty where a mark, UTF-8 or a name told it."""

    text: str
    guess: str = ""


def decode(data: bytes, *, declared: str | None = None) -> Decoded:
    """The text of the bytes.

    A byte order mark decides, then UTF-8 if the bytes are, then the declared charset, then the
    words of the text: see `_guesses`.

    Args:
        data: anything.
        declared: a charset that the document or its sender names, if any.

    Raises:
        DocumentRefused: `unknown_format` for binary data, `wrong_encoding` for a text in an unknown
            encoding.
    """
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            return Decoded(_with_mark(data, encoding))
    wide = _without_mark(data, declared) if b"\0" in data else None
    if wide is not None:
        return wide
    if looks_binary(data):
        raise DocumentRefused(
            "unknown_format", "the file is not text; publish its text, or leave it out"
        )
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return _not_utf8(data, declared)
    if b"\x1b$" in data:  # Japanese in seven bits, which UTF-8 takes for ASCII
        japanese = _try(data, "iso2022_jp")
        if japanese is not None and not japanese.isascii():
            return Decoded(japanese, "guessed: iso-2022-jp")
    return Decoded(text)


def declared_in(data: bytes, *, is_html: bool) -> str | None:
    """The charset that the document names: that of its XML declaration, or of a page's `meta`."""
    match = _XML_ENCODING.match(data)
    if match is None and is_html:
        match = _META_CHARSET.search(data[:_HEAD_BYTES])
    return match[1].decode("ascii") if match else None


def looks_binary(data: bytes) -> bool:
    """Whether NUL bytes, or many other control bytes, show that this is binary."""
    sample = data[:_SAMPLE_BYTES]
    return b"\0" in data or len(_NOT_TEXT.findall(sample)) > len(sample) * 0.02


def _with_mark(data: bytes, encoding: str) -> str:
    text = data.decode(encoding, "replace")
    if text.count("\ufffd") > max(1, len(text) * MAX_DAMAGE):
        raise _undecodable()
    return text


def _without_mark(data: bytes, declared: str | None) -> Decoded | None:
    """UTF-16 or UTF-32 that lacks its mark: declared, or letters of one alphabet and blanks."""
    named = _known(declared)
    if named is not None and named.startswith(("utf-16", "utf-32")):
        text = _try(data, named)
        if text is not None and "\0" not in text:
            return Decoded(text)
    for encoding in _WIDE:
        text = _try(data, encoding)
        if text is None or len(text) < 4 or _NOT_TEXT_WIDE.search(text[:_SAMPLE_BYTES]):
            continue
        sample = text[:_SAMPLE_BYTES]
        low, ascii_ = (sum(1 for c in sample if c < most) for most in ("\u2100", "\x80"))
        if "\0" not in text and low >= 0.95 * len(sample) and ascii_ >= 0.1 * len(sample):
            return Decoded(text, f"guessed: {encoding}")
    return None


def _not_utf8(data: bytes, declared: str | None) -> Decoded:
    damaged = data.decode("utf-8", "replace")
    bad = damaged.count("\ufffd")
    # a few broken bytes in a text whose other accents are UTF-8: damaged, not another encoding
    if sum(1 for c in damaged if c > "\x7f") > 10 * bad:
        return Decoded(damaged)
    named = _known(declared)
    for encoding in (_MEANT.get(named, named), named) if named else ():
        text = _try(data, encoding)
        if text is not None:
            return Decoded(text)
    for guess in _guesses(data):
        text = _try(data, guess.encoding)
        if text is not None:
            name = _NAMES.get(guess.encoding, guess.encoding)
            return Decoded(text, f"guessed: {name}" + " (doubtful)" * guess.doubtful)
    raise _undecodable()


def _known(declared: str | None) -> str | None:
    """The name that Python has for a text encoding."""
    try:
        return codecs.lookup(declared).name if declared else None
    except (LookupError, ValueError):
        return None


def _try(data: bytes, encoding: str) -> str | None:
    """The text, or None. Only encodings that Python knows as text encodings."""
    try:
        return data.decode(encoding)
    except (LookupError, ValueError):
        return None


def _undecodable() -> DocumentRefused:
    return DocumentRefused("wrong_encoding", "the encoding is not known; save the file as UTF-8")


# -- guesses ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Language:
    """What tells a language: letters beyond ASCII, in small, and frequent words."""

    letters: frozenset[str]
    words: frozenset[str]
    seldom: frozenset[str]
    """Further letters, which hardly speak for the language."""
    latin: bool
    at_end: bool
    """The letters beyond ASCII end a word."""

    def worth(self, word: str) -> float | None:
        """How much this small word speaks for the language by its letters; None: it has others."""
        high = {c for c in word if c > "\x7f"}
        if self.at_end and not word[:-1].isascii():
            return None
        if not self.latin and not high.issuperset(word):
            return None
        if high <= self.letters:
            return 1.0
        return 0.25 if high <= self.letters | self.seldom else None


def _language(
    letters: str, words: str, *, seldom: str = "", latin: bool = True, at_end: bool = False
) -> _Language:
    return _Language(frozenset(letters), frozenset(words.split()), frozenset(seldom), latin, at_end)


_CYRILLIC: Final = "абвгдежзийклмнопрстуфхцчшщъыьэюя"
_WESTERN: Final = {
    "en": _language("", "the of and is for that with are not this be from it as by or an have"),
    "de": _language(
        "äöüß",
        "der die das und ist nicht ein eine einer für mit auf den dem des von zu sich wird werden"
        " im sie wenn auch bei oder nach vor über durch herr frau",
    ),
    "fr": _language(
        "éèàêç",
        "le la les des du et est une dans pour pas que qui sur au aux par avec ce cette sont ne il"
        " être à où même après dès été plus ou doit",
        seldom="âæëîïôœùûüÿ",
    ),
    "es": _language(
        "áéíóúñ",
        "el los las que del una por con para es se no su al como más está año también según sin o y"
        " esta este son",
        seldom="ü",
    ),
    "pt": _language(
        "áãçéíóõêú",
        "os as que não uma para com por é do da dos das em no na ao são está também já à um ser"
        " mais ou se",
        seldom="âàôü",
    ),
    "it": _language(
        "àèéìòù",
        "il di che è non per una con del della dei delle nel sono più alla gli si anche può come"
        " questo questa perché se",
        at_end=True,
        seldom="ó",
    ),
    "nl": _language(
        "éëï",
        "de het een van en niet voor met op te dat zijn wordt worden om ook naar bij één uit moet"
        " is of vóór",
        seldom="áàâèêíóöúü",
    ),
    "sv": _language(
        "åäö",
        "och att det som en för är på med av den till inte om ett från kan efter eller när men"
        " måste även ska alla",
        seldom="éàü",
    ),
    "da": _language(
        "æøå",
        "og at det er en til på som med for ikke af den der et fra kan efter eller når skal",
        seldom="é",
    ),
    "no": _language(
        "æøå",
        "og det er en til på som med for ikke av den et fra kan etter eller når skal må",
        seldom="éòôó",
    ),
    "fi": _language(
        "äö", "ja on ei että se hän ovat tai mutta kun myös ole jos niin kuin sen", seldom="åšž"
    ),
    "ca": _language(
        "àèéíòóúç",
        "el els les que del una per amb és no al com més està també són i o la de en",
        seldom="ïü",
    ),
    "et": _language("äöõüšž", "ja on ei et see kui ka mis oma või siis aga ning tuleb"),
    "is": _language("áéíóúýðþæö", "og að er í á ekki sem til við það en um með af fyrir var"),
}
_RARE: Final = frozenset({"et", "is"})
"""Languages in Windows-1252 that need a frequent word to be believed."""
_CENTRAL: Final = {
    "pl": _language(
        "ąćęłńóśźż",
        "i w na z do się nie to jest że przed po przez dla od ze oraz lub być tego przy za jak"
        " o są",
    ),
    "cs": _language(
        "áčéěířšůýž",
        "a v na se je že do pro z s nebo po před od jsou ve k být při za jako není by který o",
        seldom="ďňóťú",
    ),
    "sk": _language(
        "áčéíľšťúýž",
        "a v na sa je že do pre z s alebo po pred od sú vo k byť pri za ako nie by ktorý o",
        seldom="äďĺňóôŕ",
    ),
    "hu": _language(
        "áéíóöőúüű",
        "a az és hogy nem egy is ez van meg csak vagy ha mint de el után előtt kell lehet minden",
    ),
    "ro": _language(
        "ăâîşţ", "şi de la în cu nu o pe este din să că pentru un care mai sau după sunt se a al"
    ),
    "hr": _language(
        "čćđšž", "i u na je se da za od s ne su to prije sa ili nije kao što koji biti"
    ),
    "sl": _language("čšž", "in v na je se da za od s ne so to pred po z ali ni kot ki pri bo"),
}
_RUSSIAN: Final = {
    "ru": _language(
        _CYRILLIC + "ё",
        "и в не на что с по как это к из для от он их её или до если при после перед за у о она но"
        " все так когда",
        latin=False,
    )
}
_UKRAINIAN: Final = {
    "uk": _language(
        _CYRILLIC.translate(dict.fromkeys(map(ord, "ъыэ"))) + "єіїґ",
        "і в не на що з та до це як за від для або після перед є у про його але якщо",
        latin=False,
    )
}
_SLAVIC: Final = {
    "bg": _language(
        _CYRILLIC,
        "и в не на да се от за е с по си като или са до това след преди при който",
        latin=False,
    ),
    "sr": _language(
        "абвгдђежзијклљмнњопрстћуфхцчџш",
        "и у на је се да за од са не су то пре или као који после",
        latin=False,
    ),
    "be": _language(
        _CYRILLIC.translate(dict.fromkeys(map(ord, "ищъ"))) + "ёіў",
        "і ў не на што з да як гэта для або пасля за ад у",
        latin=False,
    ),
}
_TURKISH: Final = {
    "tr": _language(
        "çğıiöşüâîû",
        "ve bir bu için ile de da olarak daha gibi sonra önce kadar veya değil olan çok en her ne",
    )
}
_BALTIC: Final = {
    "lt": _language("ąčęėįšųūž", "ir yra į kad su ne iš tai bet arba prieš po už kaip nuo jei ar"),
    "lv": _language("āčēģīķļņšūž", "un ir ar no uz ka par vai pirms pēc lai ne kas jo tas pie"),
    "et": _WESTERN["et"],
}
_GREEK: Final = {
    "el": _language(
        "αβγδεζηθικλμνξοπρστυφχψωςάέήίόύώϊϋΐΰ",
        "και το του της την στο με για είναι από που τα να δεν σε τον οι η ο των στην θα πριν",
        latin=False,
    )
}
_HEBREW: Final = {
    "he": _language(
        "אבגדהוזחטיכלמנסעפצקרשתךםןףץ",
        "של את על לא הוא היא זה עם כל גם אם או אבל כי יש לפני אחרי אין",
        latin=False,
    )
}
_ARABIC: Final = {
    "ar": _language(
        "ءآأؤإئابةتثجحخدذرزسشصضطظعغفقكلمنهوىيًٌٍَُِّْ",
        "في من على إلى أن هذا هذه التي الذي لا ما كان عن مع هو هي أو قبل بعد كل",
        latin=False,
    )
}
_ENCODINGS: Final = {
    "cp1252": _WESTERN,
    "iso8859-15": _WESTERN,
    "cp1250": _CENTRAL,
    "iso8859-2": _CENTRAL,
    "cp1254": _TURKISH,
    "cp1257": _BALTIC,
    "iso8859-13": _BALTIC,
    "cp1251": {**_RUSSIAN, **_UKRAINIAN, **_SLAVIC},
    "koi8-r": _RUSSIAN,
    "koi8-u": _UKRAINIAN,
    "cp866": _RUSSIAN,
    "iso8859-5": {**_RUSSIAN, **_SLAVIC},
    "mac-cyrillic": _RUSSIAN,
    "cp1253": _GREEK,
    "iso8859-7": _GREEK,
    "cp1255": _HEBREW,
    "cp1256": _ARABIC,
}
"""Encodings of one byte that people have, and the languages that they have in them."""

_KANA = re.compile("[\u3041-\u3096\u30a1-\u30fa]")
_HANGUL = re.compile("[\uac00-\ud7a3]")
_HALF_WIDTH = re.compile("[\uff61-\uff9f]")
_SIMPLIFIED: Final = frozenset(
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年"
    "过发后作里用道行所然家种事成方多经么去法学如都同现当没动面起看定天分还进好小部其些主样理心"
    "本前开但因只从想实日者意无力它与长把机十民第公此已工使情明性知全三又关点正业外将两高间由问"
    "很最重并物手应文体政相见被利等产或新制加合回特代内信表化位次度门任常先通教原提及比解名处各"
    "入认条平系气题更别打总何数据安少报接反再建务做件管期统区保至设式色路记服请输程该规取确清运"
)
_TRADITIONAL: Final = frozenset(
    "的一是不了在人有我他這個們中來上大為和國地到以說時要就出會可也你對生能而子那得於著下自之年"
    "過發後作裡用道行所然家種事成方多經麼去法學如都同現當沒動面起看定天分還進好小部其些主樣理心"
    "本前開但因只從想實日者意無力它與長把機十民第公此已工使情明性知全三又關點正業外將兩高間由問"
    "很最重並物手應文體政相見被利等產或新製加合回特代內信表化位次度門任常先通教原提及比解名處各"
    "入認條平系氣題更別打總何數據安少報接反再建務做件管期統區保至設式色路記服請輸程該規取確清運"
)
_KOREAN: Final = frozenset(
    "이다는을의에가하고은를로기지한도사시자나서대어아리인그일부수라정보해제게전상들만여주것구조공"
    "스원과있으장동성용비관위우니안오신면습합설치확인"
)
_TYPICAL: Final = {
    "euc_jp": None,
    "cp932": None,
    "gb18030": _SIMPLIFIED,
    "big5hkscs": _TRADITIONAL,
    "cp949": _KOREAN,
}
"""Encodings of more bytes, and characters that make up a third of a text; Japanese has kana."""

_TOKEN = re.compile(r"[A-Za-z\x80-\U0010ffff]+")
_OPENING: Final = "«„“”‘’‚‹›»¿¡(…–—•·†‡§©®°£€¥¶¬\xa0\xad"
_CLOSING: Final = "»«“”’‘‹›…–—®™©°·†‡%€£¥\xa0\xad"
_JOINS = re.compile("[’‘–—…·\xa0\xad]+")
_RAISED = re.compile("^(?:[mM]|[cdkm]m|ft|in|x|h|s)[¹²³]$|^[nN][ºª]$|^[µμ]")
_SHAPE = re.compile(r"[^\W\d_]+")
_PRIOR: Final = 0.5
"""Points that Windows-1252 has from the start."""
_MARGIN: Final = 4
"""Points between a guess and the next other reading above which the guess is sure."""


class _Guess(NamedTuple):
    encoding: str
    doubtful: bool


@dataclass(slots=True)
class _Reading:
    """Points for one language in one encoding, and how many words are none of it."""

    encoding: str
    words: Collection[str]
    """Those with letters beyond ASCII."""
    points: float = 0.0
    good: int = 0
    strange: int = 0
    known: int = 0
    """Frequent words that it has, of each language twenty and more."""

    def take(self, word: str, worth: float, language: _Language, near: Iterable[_Language]) -> None:
        """Count a word with letters beyond ASCII."""
        own = language.worth(word)
        if len(word) == 1:  # of a table of letters, if it is no word that is frequent
            self.strange += not any(word in other.words for other in (language, *near))
        elif own is not None:
            self.points += own * worth
            self.good += 1
        elif any(other.worth(word) is not None for other in near):
            self.good += 1  # a name from next door
        else:
            self.strange += 1

    def is_plausible(self) -> bool:
        enough = self.encoding == "cp1252" or self.known >= min(4, self.good // 10)
        return self.points > 0 and self.strange * 10 <= self.good and enough


@dataclass(slots=True)
class _Words:
    """The words of a sample in one encoding, in small letters, and how often each occurs."""

    plain: Counter[str] = field(default_factory=Counter)
    """All words, by which a language is told."""
    high: dict[str, float] = field(default_factory=dict)
    """Those with letters beyond ASCII, and what each counts."""
    strange: int = 0
    """Words with a sign inside them, or with capitals in odd places."""


def _guesses(data: bytes) -> Iterator[_Guess]:
    """Encodings in which the bytes read like a language; none where two are as likely.

    Every pair of encoding and language gets points for its frequent words and for words with its
    letters, and is out if it cannot spell a tenth of them. Windows-1252 wins when it is as likely.
    """
    sample = _sample(data)
    for encoding, typical in _TYPICAL.items():
        text = _start(sample, encoding)
        if text is not None and _is_east_asian(text, typical):
            yield _Guess(encoding, doubtful=sum(1 for c in text if c > "\x7f") < 8)
            return
    readings = [one for encoding in _ENCODINGS for one in _readings(sample, encoding)]
    plausible = sorted((r for r in readings if r.is_plausible()), key=lambda r: -r.points)
    if not plausible:
        return
    best = plausible[0]
    western = next((r for r in plausible if r.encoding == "cp1252"), None)
    if western is not None and western.points >= best.points:
        best = western
    others = (r.points for r in plausible if r.words != best.words)
    margin = best.points - max(others, default=0.0)
    if best.encoding == "cp1252":
        yield _Guess("cp1252", doubtful=margin < _MARGIN)
    elif margin >= 2 and (best.known or best.good >= 3):
        yield _Guess(best.encoding, doubtful=margin < _MARGIN)


def _sample(data: bytes) -> bytes:
    """The first bytes beyond ASCII with what is around them; it begins with a whole character."""
    first = _HIGH.search(data)
    start = max(0, (first.start() if first else 0) - _SAMPLE_BYTES // 4)
    return data[start : start + _SAMPLE_BYTES]


def _start(sample: bytes, encoding: str) -> str | None:
    """The text of the sample, whose last character may be cut; None where it is none."""
    try:
        return codecs.getincrementaldecoder(encoding)("strict").decode(sample)
    except ValueError:
        return None


def _is_east_asian(text: str, typical: frozenset[str] | None) -> bool:
    letters = [c for c in text if c > "\x7f" and c.isalpha()]
    if len(letters) < 4 or len(_HALF_WIDTH.findall(text)) > 0.02 * len(letters):
        return False
    if typical is None:
        return len(_KANA.findall(text)) >= max(2, 0.3 * len(letters))
    if typical is _KOREAN and len(_HANGUL.findall(text)) < 0.9 * len(letters):
        return False
    return sum(1 for c in letters if c in typical) >= max(2, 0.3 * len(letters))


def _readings(sample: bytes, encoding: str) -> Iterator[_Reading]:
    text = _start(sample, encoding)
    if text is None:
        return
    words, languages = _words(text), _ENCODINGS[encoding]
    for name, language in languages.items():
        known = language.words & words.plain.keys()
        if name in _RARE and not known:
            continue
        reading = _Reading(encoding, words.high.keys(), strange=words.strange, known=len(known))
        near = [other for key, other in languages.items() if key not in _RARE]
        for word, worth in words.high.items():
            reading.take(word, worth, language, near)
        reading.points += 2 * sum(min(words.plain[word], 5) for word in known)
        if encoding == "cp1252" and name not in _RARE:
            reading.points += _PRIOR
        yield reading


def _words(text: str) -> _Words:
    found = _Words()
    for token, count in Counter(_TOKEN.findall(text)).items():
        if token.isascii():
            found.plain[token.lower()] += count
        elif not _RAISED.match(token):
            for part in _JOINS.split(token.lstrip(_OPENING).rstrip(_CLOSING)):
                _take(part, count, found)
    return found


def _take(part: str, count: int, found: _Words) -> None:
    small = part.lower().replace("i\u0307", "i")  # of a Turkish capital
    if not any(c.isalpha() for c in part):
        return
    if part.isascii():
        found.plain[small] += count
    elif not _SHAPE.fullmatch(part) or not _has_a_usual_shape(part):
        found.strange += 1
    else:
        found.plain[small] += count
        found.high[small] = 0.5 if part.isupper() and len(part) > 1 else 1.0


def _has_a_usual_shape(word: str) -> bool:
    """Whether capitals stand at the beginning only, or everywhere, or between letters of ASCII."""
    return not any(
        after.isupper() and before.islower() and (before > "\x7f" or after > "\x7f")
        for before, after in pairwise(word)
    )
