"""The modules of the page in one script; `tests/browser` runs the real one."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from sessiongate.gateway.ui.bundle import bundle
from tests.node import run

MODULES = {
    "main": """
import { first as one } from "./first.js";
import {
  FOURTH,
  Second,
  third,
} from "./second.js";
const said = [one(), new Second().said, FOURTH];
third().then((number) => console.log(JSON.stringify([...said, number])));
""",
    "first": """
import { third } from "./second.js";
const said = "said by the first";
export function first() {
  return `${said}, ${third.name}`;
}
""",
    "second": """
const said = "by the second";
export class Second {
  said = said;
}
export async function third() {
  return 3;
}
export const FOURTH = "the fourth";
""",
    "unused": "throw new Error();",
}


@pytest.mark.skipif(not shutil.which("node"), reason="there is no Node.js here")
def test_modules_run_once_each_with_its_own_names(tmp_path: Path) -> None:
    script = tmp_path / "bundle.mjs"
    script.write_text(bundle(MODULES, "main"))
    assert run("node", str(script), cwd=tmp_path).stdout == (
        '["said by the first, third","by the second","the fourth",3]\n'
    )


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ('import { a } from "./gone.js";', "main.js: no module 'gone'"),
        ('import { a } from "./first.js";', "modules import each other: main, first, main"),
        ('import all from "./second.js";', 'main.js: unknown form: import all from "./second.js";'),
        ("export let changing = 1;", "main.js: unknown form: export let changing = 1;"),
        ("export { a };", "main.js: unknown form: export { a };"),
    ],
)
def test_what_it_cannot_join_is_named(source: str, named: str) -> None:
    modules = {"main": f"{source}\n", "first": 'import { a } from "./main.js";\n', "second": ""}
    with pytest.raises(ValueError, match=f"^{re.escape(named)}$"):
        bundle(modules, "main")
