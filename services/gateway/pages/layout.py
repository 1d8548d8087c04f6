"""The frame of a page: one file with its style, without scripts or outside resources. Pure."""

import base64
import hashlib
from typing import Final

from services.gateway.pages.markup import Markup, text

STYLE: Final = """
:root{color-scheme:light dark;--bg:#fff;--fg:#1b1f24;--soft:#57606a;--line:#d0d7de;--card:#f6f8fa;
--c1:#1a7f37;--c2:#0969da;--c3:#8c959f;--c4:#8250df;--c5:#6e4b1f;--c6:#bf8700;--c7:#cf222e;
--c8:#57606a;--bad:#b3131e;--warn:#7d4e00;--good:#116329}
@media (prefers-color-scheme:dark){:root{--bg:#0d1117;--fg:#e6edf3;--soft:#9da7b3;--line:#30363d;
--card:#161b22;--c1:#3fb950;--c2:#58a6ff;--c3:#6e7681;--c4:#bc8cff;--c5:#c69560;--c6:#d29922;
--c7:#ff7b72;--c8:#8b949e;--bad:#ff8f88;--warn:#e3b341;--good:#56d364}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--fg);font:16px/1.5 system-ui,sans-serif}
header,main,footer{max-width:60rem;margin:0 auto;padding:1rem}
h1{font-size:1.5rem;line-height:1.25;margin:0 0 .5rem;overflow-wrap:anywhere}
h2{font-size:1.15rem;margin:0 0 .75rem}
section{border-top:1px solid var(--line);padding:1.25rem 0}
p{margin:.25rem 0;overflow-wrap:anywhere}
dl{display:grid;grid-template-columns:repeat(auto-fit,minmax(9rem,1fr));gap:.5rem;margin:1rem 0 0}
dl div{background:var(--card);border:1px solid var(--line);border-radius:6px;padding:.5rem .75rem}
dt{color:var(--soft);font-size:.85rem}
dd{margin:0;font-weight:600;overflow-wrap:anywhere}
.wide{overflow-x:auto;margin:.75rem 0}
table{border-collapse:collapse;width:100%;font-size:.9rem}
caption{text-align:left;color:var(--soft);padding:.25rem 0}
th,td{text-align:left;vertical-align:top;padding:.3rem .6rem .3rem 0;
border-bottom:1px solid var(--line)}
bdi{overflow-wrap:anywhere}
thead th{white-space:nowrap}
tbody th{font-weight:500;min-width:7rem}
.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
td .bad,td .warn,td .good,td .soft{white-space:nowrap}
svg{display:block;width:100%;max-width:44rem;height:auto;margin:.5rem 0}
svg text{font:9px system-ui,sans-serif;fill:var(--soft)}
svg .v{fill:var(--fg)}
.f1{fill:var(--c1)}.f2{fill:var(--c2)}.f3{fill:var(--c3)}.f4{fill:var(--c4)}.f5{fill:var(--c5)}
.f6{fill:var(--c6)}.f7{fill:var(--c7)}.f8{fill:var(--c8)}
.axis{stroke:var(--line);stroke-width:1}
.limit{stroke:var(--warn);stroke-width:1.2;stroke-dasharray:4 3}
.line{fill:none;stroke:var(--c2);stroke-width:1.6;stroke-linejoin:round;stroke-linecap:round}
.dot{fill:var(--c2)}
.key{display:inline-block;width:.8rem;height:.8rem;margin:0 .4rem 0 0;vertical-align:-.05rem}
.bad{color:var(--bad);font-weight:700}.warn{color:var(--warn);font-weight:700}
.good{color:var(--good);font-weight:700}.soft{color:var(--soft)}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(17rem,1fr));gap:1rem}
h3{font-size:.95rem;margin:0;color:var(--soft);font-weight:600}
a{color:var(--c2)}
summary{cursor:pointer}
:focus-visible{outline:2px solid var(--c2);outline-offset:2px}
footer{color:var(--soft);font-size:.85rem;border-top:1px solid var(--line)}
@media (max-width:30rem){header,main,footer{padding:.75rem}table{font-size:.85rem}}
@media print{:root{--bg:#fff;--fg:#000;--soft:#444;--line:#bbb;--card:#fff;
--c1:#1a7f37;--c2:#0969da;--c3:#8c959f;--c4:#8250df;--c5:#6e4b1f;--c6:#bf8700;--c7:#cf222e;--c8:#57606a;--bad:#b3131e;
--warn:#7d4e00;--good:#116329}body{font-size:11pt}.wide{overflow:visible}
section,tr,svg{break-inside:avoid}section.long{break-inside:auto}
*{-webkit-print-color-adjust:exact;print-color-adjust:exact}}
"""
_DIGEST: Final = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_DIGEST}'; base-uri 'none'; form-action 'none'"
)
"""Content-Security-Policy: allows this style by its digest, and no other resource."""


def page(title: str, header: Markup, main: Markup, footer: Markup) -> str:
    """A whole document."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width,initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{text(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"<header>\n{header}\n</header>\n<main>\n{main}\n</main>\n"
        f"<footer>\n{footer}\n</footer>\n</body>\n</html>\n"
    )


def wants_html(form: str, accept: str) -> bool:
    """Whether the client asks for a page: by `format`, else by its `Accept` header.

    Args:
        accept: the header; a client that names no type gets JSON.
    """
    if form:
        return form == "html"
    for part in accept.lower().split(","):
        kind = part.partition(";")[0].strip()
        if kind in ("text/html", "application/xhtml+xml"):
            return True
        if kind in ("application/json", "*/*", "application/*"):
            return False
    return False
