"""Joins the modules of the page into one script, which a browser gets with one request.

A browser finds a module when it has read one that imports it: for 42 modules, it waits four times,
and all of its processes are busy with each request.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_IMPORT = re.compile(r'^import \{([^}]*)\} from "\./(\w+)\.js";$', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|class|const) (\w+))", re.MULTILINE)
_OTHER = re.compile(r"^(?:import|export)\b.*", re.MULTILINE)


def bundle(modules: Mapping[str, str], main: str) -> str:
    """Return a script that does what a module and those that it imports do.

    ``modules`` are the sources by name, without ``.js``. Each runs once, after those that it
    imports, in a function of its own, so that two may use the same names; none may ``await``
    outside its functions. Raises `ValueError` for a module that is missing, that imports itself by
    way of others, or that imports or exports in another form than
    ``import { a, b as c } from "./name.js";`` and ``export`` before a function, a class or a
    constant.
    """
    done: dict[str, str] = {}  # in the order in which they run

    def add(name: str, importers: tuple[str, ...]) -> None:
        if name in importers:
            raise ValueError(f"modules import each other: {', '.join((*importers, name))}")
        if name in done:
            return
        if name not in modules:
            raise ValueError(f"{importers[-1]}.js: no module {name!r}")
        source = modules[name]
        for _, imported in _IMPORT.findall(source):
            add(imported, (*importers, name))
        done[name] = _function(name, source)

    add(main, ())
    return "".join(done.values())


def _function(name: str, source: str) -> str:
    body = _IMPORT.sub(
        lambda found: f"const {{{found[1].replace(' as ', ': ')}}} = ${found[2]};", source
    )
    exported = ", ".join(_EXPORT.findall(body))
    body = _EXPORT.sub("", body)
    if other := _OTHER.search(body):
        raise ValueError(f"{name}.js: unknown form: {other[0]}")
    return f"// {name}.js\nconst ${name} = (() => {{\n{body}return {{ {exported} }};\n}})();\n"
