"""The name of a character encoding to its codec, if the encoding is used for text.

Python has more: `punycode` takes hours for 10 MB, `unicode_escape` and `idna` are no encodings of texts, and a server, or the
author of a file, would choose among them.
"""

import codecs

_TEXT = frozenset(
    [
        "ascii",
        "utf-8",
        "utf-8-sig",
        "utf-7",
        "utf-16",
        "utf-16-le",
        "utf-16-be",
        "utf-32",
        "utf-32-le",
        "utf-32-be",
        "iso8859-1",
        "iso8859-2",
        "iso8859-3",
        "iso8859-4",
        "iso8859-5",
        "iso8859-6",
        "iso8859-7",
        "iso8859-8",
        "iso8859-9",
        "iso8859-10",
        "iso8859-11",
        "iso8859-13",
        "iso8859-14",
        "iso8859-15",
        "iso8859-16",
        "cp1250",
        "cp1251",
        "cp1252",
        "cp1253",
        "cp1254",
        "cp1255",
        "cp1256",
        "cp1257",
        "cp1258",
        "cp874",
        "tis-620",
        "cp037",
        "cp273",
        "cp437",
        "cp500",
        "cp850",
        "cp852",
        "cp855",
        "cp858",
        "cp866",
        "cp1140",
        "koi8-r",
        "koi8-u",
        "koi8-t",
        "mac-roman",
        "mac-cyrillic",
        "mac-latin2",
        "mac-greek",
        "mac-turkish",
        "hp-roman8",
        "gb2312",
        "gbk",
        "gb18030",
        "hz",
        "big5",
        "big5hkscs",
        "cp950",
        "euc_kr",
        "cp949",
        "johab",
        "iso2022_kr",
        "shift_jis",
        "shift_jis_2004",
        "cp932",
        "euc_jp",
        "euc_jis_2004",
        "iso2022_jp",
        "iso2022_jp_1",
        "iso2022_jp_2",
    ]
)


def text_codec(name: str) -> str:
    """Return Python's name of an encoding.

    Raises:
        LookupError: it is no encoding of texts, or not known.
    """
    try:
        found = codecs.lookup(name).name
    except (LookupError, ValueError, TypeError):  # ValueError: a NUL in it
        found = ""
    if found not in _TEXT:
        raise LookupError(f"there is no encoding {name!r:.80}")
    return found
