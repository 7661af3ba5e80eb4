"""Patterns of paths in options -> whether they mean a path of the manifest.

In: patterns as the guards of `components` take them (`/docs`, `/health/*`, `POST /login`), and paths
as a manifest writes them. Out: what those guards will say, without a line of them: one table of cases
holds both to the same answers.
"""


def guards(pattern: str, path: str, method: str | None = None) -> bool:
    """Tell whether a guard on `pattern` looks at `path`, as the guards of `components` do.

    `path` is written plainly, as in a manifest. Without `method` every method is asked for.
    """
    place = pattern.rpartition(" ")[2]
    bare = place.removesuffix("/*").rstrip("/") or "/"
    is_named = _names_method(pattern, method and method.upper())
    return is_named and (_meets(place, path) or _meets(bare, path))


def exempts(pattern: str, path: str, method: str | None = None) -> bool:
    """Tell whether an exemption for `pattern` holds for `path`; it is not wider than its words."""
    return _names_method(pattern, method) and _meets(pattern.rpartition(" ")[2], path)


def _names_method(pattern: str, method: str | None) -> bool:
    methods = pattern.rpartition(" ")[0].strip().split(",")
    return methods == [""] or method in methods or (method == "HEAD" and "GET" in methods)


def _meets(place: str, path: str) -> bool:
    """Tell whether a path is meant: `*` is one segment, and at the end all beneath."""
    wanted, given = place.split("/"), path.split("/")
    if wanted[-1] == "*":
        wanted, given = wanted[:-1], given[: len(wanted) - 1] if len(given) >= len(wanted) else []
    return len(wanted) == len(given) and all(
        want == have or (want == "*" and have != "")
        for want, have in zip(wanted, given, strict=True)
    )
