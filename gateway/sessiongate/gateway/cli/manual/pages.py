"""The manual: a page for each command and for the settings' file, from what `--help` shows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from typing import Any

import typer
from typer.core import TyperGroup

from sessiongate.gateway.cli.command import help_sections
from sessiongate.gateway.cli.main import app
from sessiongate.gateway.cli.manual.roff import ManualPage, in_bold, in_italics, in_words, verbatim
from sessiongate.gateway.cli.settings_file import SYSTEM_FILE, settings
from sessiongate.runtime.exit_codes import ASKING, SERVING

NAME = "sessiongate"
FILE = "sessiongate.toml"
_SERVING = ("serve", "core")
# The end of an option's text in the help: where else it is set, and its default.
_FACTS = re.compile(r"(?:^|  )\[(.+)\]$", re.S)
_TITLES = {"env var": "Variable", "default": "Default"}


def pages(date: str) -> dict[str, str]:
    """Return each page's text by the path of its file in a folder of manuals."""
    root = typer.main.get_command(app)
    found = {}
    for context in _contexts(root, None, NAME):
        name = _page(context)
        page = ManualPage(name, 1, date, f"{NAME} {version(NAME)}")
        _write_command(page, context)
        found[f"man1/{name}.1"] = str(page)
    page = ManualPage(FILE, 5, date, f"{NAME} {version(NAME)}")
    _write_file(page, root)
    found[f"man5/{FILE}.5"] = str(page)
    return found


def _contexts(command: Any, parent: Any, name: str) -> Iterator[Any]:
    """Yield a context for a command, and for each below it."""
    context = command.context_class(
        command, info_name=name, parent=parent, **command.context_settings
    )
    yield context
    for below, each in getattr(command, "commands", {}).items():
        yield from _contexts(each, context, below)


def _page(context: Any) -> str:
    return str(context.command_path).replace(" ", "-")


def _write_command(page: ManualPage, context: Any) -> None:
    command = context.command
    summary, *paragraphs = (command.help or "").split("\n\n")
    page.heading("NAME")
    purpose = _begun(_in_one_line(summary).rstrip("."), str.lower)
    page.formatted(f"{verbatim(_page(context))} \\- {in_words(purpose)}")
    page.heading("SYNOPSIS")
    usage = " ".join(command.collect_usage_pieces(context)).replace("{", "").replace("}", "")
    page.formatted(f"{in_bold(context.command_path)} {in_italics(usage)}")
    page.heading("DESCRIPTION")
    texts = [each for each in (summary, *paragraphs) if not each.startswith("\b")]
    page.paragraphs(map(_in_one_line, texts))
    _write_commands(page, context)
    for title, records in help_sections(context).items():
        if title in ("Arguments", "Options"):
            page.heading(title.upper())
        else:
            page.subheading(title)
        for _, (left, right) in records:
            page.entry(_term(left), *_explained(right))
    if isinstance(command, TyperGroup):
        codes: Mapping[int, str] = {}
    elif command.name in _SERVING:
        codes = SERVING
    else:
        codes = ASKING if getattr(command, "reads_default_files", False) else {}
    if codes:
        page.heading("EXIT STATUS")
        for code, meaning in codes.items():
            page.entry(in_bold(str(code)), in_words(f"{_begun(meaning, str.upper)}."))
    _write_examples(page, [each for each in paragraphs if each.startswith("\b")])
    _write_see_also(page, context)


def _write_commands(page: ManualPage, context: Any) -> None:
    """Write which commands a group has."""
    if commands := getattr(context.command, "commands", {}):
        page.heading("COMMANDS")
        for name, each in commands.items():
            text = in_words(_in_one_line((each.help or "").split("\n\n")[0]))
            page.entry(in_bold(name), text, f"See {_link(f'{_page(context)}-{name}')}.")


def _write_examples(page: ManualPage, paragraphs: list[str]) -> None:
    for paragraph in paragraphs:
        _, _, lines = paragraph.partition("\n")  # after the mark that keeps its lines
        title, _, lines = lines.partition("\n")
        page.heading(f"{title.rstrip(':').upper()}S")
        page.example(line.removeprefix("  ") for line in lines.rstrip().splitlines())


def _write_see_also(page: ManualPage, context: Any) -> None:
    page.heading("SEE ALSO")
    around = [context.parent] if context.parent is not None else []
    names = [_page(each) for each in around]
    below = getattr(context.command, "commands", {})
    names += [f"{_page(context)}-{name}" for name in below]
    page.formatted(", ".join([*(_link(name) for name in names), _link(FILE, 5)]))


def _link(name: str, section: int = 1) -> str:
    return f"{in_bold(name)}({section})"


def _write_file(page: ManualPage, root: Any) -> None:
    """Write the page of the settings' file."""
    page.heading("NAME")
    page.formatted(f"{verbatim(FILE)} \\- settings of {NAME}")
    page.heading("DESCRIPTION")
    page.paragraphs(
        [
            f"A file in TOML with one line for each setting: its key, `=`, and its value. Numbers"
            f" and true or false are written as they are, everything else in quotes. `{NAME}`"
            f" reads the file that `--config` names, and each command takes from it the settings"
            f" that it has."
            f" A flag overrides a variable, which overrides the file. Any other key is refused.",
            "A setting that is repeatable takes a list. A source is a URL, or a table with a key"
            " `url` and the options of its URL's query, such as `name` and `password_file`.",
            f"Without `--config`, the commands that ask a core read `{SYSTEM_FILE}` and then"
            f" `{NAME}/config.toml` in `$XDG_CONFIG_HOME` (`~/.config`), which overrides it.",
            f"`{NAME} check-config --config {SYSTEM_FILE}` lists all that is wrong with a file.",
        ]
    )
    page.heading("SETTINGS")
    for title, found in _keys(root).items():
        if title != "Options":
            page.subheading(title)
        for option, right, commands in found:
            kind = f"[{in_italics(option.metavar)}, ...]" if option.multiple else _kind(option)
            *texts, facts = _explained(right)
            takers = ", ".join(map(verbatim, commands))
            facts = f"Flag: {in_bold(option.opts[0])}. {facts} Commands: {takers}."
            page.entry(f"{in_bold(option.name)} = {kind}", *texts, facts)
    page.heading("EXAMPLES")
    page.example(
        [
            'http = "127.0.0.1:8989"',
            'ledger = "sqlite:////var/lib/sessiongate/ledger.db"',
            "stale_after = 60",
            "source = [",
            '    "host:",',
            '    { url = "postgresql://sessiongate@db1.example:5432",'
            ' password_file = "/etc/sessiongate/db1" },',
            "]",
        ]
    )
    page.heading("SEE ALSO")
    page.formatted(", ".join(map(_link, (NAME, f"{NAME}-serve", f"{NAME}-core"))))


def _keys(root: Any) -> dict[str, list[tuple[Any, str, list[str]]]]:
    """Return the settings by their titles: each with its text, and the commands that take it."""
    titles: dict[str, list[tuple[Any, str, list[str]]]] = {"Options": []}
    takers: dict[str, list[str]] = {}
    for context in _contexts(root, None, NAME):
        if all(option.name != "config" for option in context.command.params):
            continue
        command = str(context.command_path).split(" ")[1]  # a group stands for those below it
        for title, entries in help_sections(context).items():
            for option, (_, right) in entries:
                if option.name in settings(root) and option.envvar:
                    if option.name not in takers:
                        takers[option.name] = []
                        found = (option, right, takers[option.name])
                        titles.setdefault(title, []).append(found)
                    # check-config takes the same as serve.
                    if command not in ("check-config", *takers[option.name]):
                        takers[option.name].append(command)
    return titles


def _kind(option: Any) -> str:
    return in_italics(option.metavar) if option.metavar else in_bold("true")


def _in_one_line(text: str) -> str:
    return " ".join(text.split())


def _begun(text: str, change: Callable[[str], str]) -> str:
    return change(text[:1]) + text[1:]


def _term(left: str) -> str:
    """Return an option, or an argument without its type, as the term that its text explains."""
    words = left.partition(" <")[0].replace(",", " ,").split()
    shown = [(in_bold if word.startswith("-") else in_italics)(word) for word in words]
    return " ".join(shown).replace(f" {in_italics(',')}", ",")


def _explained(right: str) -> Iterator[str]:
    """Yield the texts that explain an option."""
    found = _FACTS.search(right)
    if text := right[: found.start()] if found else right:
        yield in_words(_in_one_line(text))
    if found:
        yield " ".join(f"{_fact(each)}." for each in found[1].split("; "))


def _fact(fact: str) -> str:
    name, colon, value = fact.partition(": ")
    if not colon:
        return verbatim(name.capitalize())
    is_text = value.startswith("(")  # describes the value
    shown = in_words(value.strip("()")) if is_text else in_bold(value)
    return f"{_TITLES[name]}: {shown}"
