"""A request for consent -> a page that works without scripts.

In: who asks, for what, and the users there are. Out: HTML in which every text is escaped, under a
policy that allows its one style sheet and its form, and nothing else.
"""

import base64
import hashlib
from html import escape
from urllib.parse import urlsplit

from starlette.responses import HTMLResponse

from components.mcp.dev_issuer.redirect_uri import form_action
from components.mcp.dev_issuer.state import CONSENT, Asked, Issuer
from components.mcp.dev_issuer.users import User

_STYLE = """
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#57606a;--line:#d0d7de;--page:#f6f8fa;
--card:#fff;--accent:#0b5cad;--on-accent:#fff;--note:#fff4ce;--note-ink:#4d3b00}
@media (prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9da7b3;--line:#3d444d;--page:#0d1117;
--card:#161b22;--accent:#79b8ff;--on-accent:#0d1117;--note:#3a2f0b;--note-ink:#f5e3a8}}
*{box-sizing:border-box}
body{margin:0;padding:2rem 1rem;background:var(--page);color:var(--ink);
font:16px/1.5 system-ui,sans-serif}
main{max-width:30rem;margin:0 auto;padding:1.75rem;background:var(--card);
border:1px solid var(--line);border-radius:12px}
h1{margin:0 0 .5rem;font-size:1.4rem;line-height:1.3;overflow-wrap:anywhere}
h2{margin:1.25rem 0 .25rem;font-size:1rem}
p{margin:.5rem 0;overflow-wrap:anywhere}ul{margin:.25rem 0;padding-left:1.25rem}
code{font-size:.9em;overflow-wrap:anywhere}
.soft{color:var(--soft);font-size:.9rem}
.note{padding:.5rem .75rem;border-radius:8px;background:var(--note);color:var(--note-ink);font-size:.9rem}
fieldset{margin:1.25rem 0;padding:0;border:0}legend{padding:0;margin-bottom:.25rem;font-weight:600}
label{display:flex;gap:.75rem;align-items:center;margin:.4rem 0;padding:.6rem .75rem;
border:1px solid var(--line);border-radius:8px;cursor:pointer;overflow-wrap:anywhere}
label:has(:checked){border-color:var(--accent);box-shadow:inset 0 0 0 1px var(--accent)}
label span span{display:block}input{accent-color:var(--accent);width:1.1rem;height:1.1rem;flex:none}
.actions{display:flex;gap:.75rem;margin-top:1.5rem}
button{flex:1;padding:.7rem 1rem;border:1px solid var(--line);border-radius:8px;background:none;
color:inherit;font:inherit;font-weight:600;cursor:pointer}
button.go{border-color:var(--accent);background:var(--accent);color:var(--on-accent)}
:focus-visible{outline:3px solid var(--accent);outline-offset:2px}
"""
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()


def consent_page(issuer: Issuer, asked: Asked, ticket: str, chosen: str | None) -> HTMLResponse:
    """The question; `ticket` names it, `chosen` is the id of the user it is put to first."""
    name = asked.client.name or "An application without a name"
    first = chosen if chosen in issuer.users else next(iter(issuer.users))
    users = "".join(_user(user, chosen=user.id == first) for user in issuer.users.values())
    scopes = "".join(f"<li><code>{escape(scope)}</code></li>" for scope in asked.scopes)
    targets = "".join(f"<li><code>{escape(target)}</code></li>" for target in asked.resources)
    identity = urlsplit(asked.client.id).hostname if asked.client.document else None
    vouched = (
        f"<p>Its identity is published at <strong>{escape(identity)}</strong>.</p>"
        if identity
        else '<p class="soft">It registered itself, and the name is its own word.</p>'
    )
    return _page(
        f"{name} asks to log in",
        f"""<h1>{escape(name)} asks to log in</h1>
{vouched}
<p class="note">A login for development: no password is asked for.</p>
<form method="post" action="{CONSENT}">
<input type="hidden" name="ticket" value="{escape(ticket)}">
<fieldset><legend>Log in as</legend>{users}</fieldset>
<h2>It may then</h2><ul>{scopes}</ul>
{f"<h2>At</h2><ul>{targets}</ul>" if targets else ""}
<p class="soft">Your answer goes to <strong>{escape(_destination(asked.redirect_uri))}</strong>.</p>
<div class="actions"><button class="go" name="decision" value="approve">Approve</button>
<button name="decision" value="deny">Deny</button></div>
</form>""",
        200,
        form_to=f"'self' {form_action(asked.redirect_uri)}",
    )


def fault_page(why: str, status: int = 400) -> HTMLResponse:
    """What is shown when an answer can go nowhere."""
    return _page(
        "This login cannot go on",
        f"""<h1>This login cannot go on</h1><p>{escape(why)}</p>
<p class="soft">Start again from the application that brought you here.</p>""",
        status,
        form_to="'none'",
    )


def _user(user: User, *, chosen: bool) -> str:
    checked = " checked" if chosen else ""
    about = " · ".join(part for part in (user.email if user.name else "", user.role or "") if part)
    return (
        f'<label><input type="radio" name="user" value="{escape(user.id)}"{checked} required>'
        f"<span>{escape(user.name or user.email)}"
        + (f'<span class="soft">{escape(about)}</span>' if about else "")
        + "</span></label>"
    )


def _destination(uri: str) -> str:
    parts = urlsplit(uri)
    if parts.scheme in {"http", "https"}:
        return parts.netloc
    return f"an application on this device ({parts.scheme}:)"


def _page(title: str, body: str, status: int, *, form_to: str) -> HTMLResponse:
    html = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex"><style>{_STYLE}</style></head>
<body><main>{body}</main></body></html>"""
    headers = {
        "cache-control": "no-store",
        "content-security-policy": f"default-src 'none'; style-src 'sha256-{_HASH}'; "
        f"form-action {form_to}; base-uri 'none'; frame-ancestors 'none'",
        "x-frame-options": "DENY",
        "x-content-type-options": "nosniff",
        # under `no-referrer` a browser sends `Origin: null` with the form
        "referrer-policy": "same-origin",
        # a host that opened this page in a window of its own waits for that window to come back
        "cross-origin-opener-policy": "unsafe-none",
    }
    return HTMLResponse(html, status, headers)
