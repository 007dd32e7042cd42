"""Documentation of declared globals, handles and members, as plain text and as Markdown."""

from __future__ import annotations

from llmspell_bridge._meaning import Declared, Key, Library, Meaning, Member, PromiseOf, Result
from llmspell_bridge._notation import (
    literal,
    markdown,
    other_names,
    plain,
    signature,
    twin_signature,
    type_text,
)
from llmspell_core import (
    Documentation,
    MemberDescription,
    ObjectDescription,
    OptionKey,
    ParameterDescription,
)

_FAILURES = {
    "pair": "A failure gives nil and the message.",
    "table": "A failure gives a table with success = false and error, and the message.",
}


def document(meaning: Meaning, name: str, start: int, end: int) -> Documentation:
    """About what stands in the code from *start* to *end*, written *name*."""
    if isinstance(meaning, Result):
        meaning = meaning.documented
    if isinstance(meaning, Member):
        return _of_member(meaning, start, end)
    if isinstance(meaning, PromiseOf):
        summary = "A promise; what it lacks is read from its value."
        return _plainly(name, meaning, (meaning.signature,), summary, start, end)
    if isinstance(meaning, Declared):
        about = meaning.described
        title = about.name if meaning.separator == "." else f"{name}: {about.name}"
        return Documentation(
            name=name,
            kind=meaning.kind,
            signatures=(title,),
            summary=meaning.summary,
            text=object_text(about, meaning.separator),
            markdown=object_markdown(about, meaning.separator),
            start=start,
            end=end,
        )
    signatures = (meaning.signature,) if meaning.signature else ()
    if isinstance(meaning, Library | Key):
        name = meaning.entry.name if isinstance(meaning, Library) else name
    elif signatures and meaning.kind != "function":
        signatures = (f"{name}: {signatures[0]}",)
    return _plainly(name, meaning, signatures, meaning.summary, start, end)


def call_document(callee: Meaning, argument: int, cursor: int) -> Documentation | None:
    """About a function in whose arguments the cursor stands; None if nothing is known of it."""
    if not callee.signature:
        return None
    found = document(callee, callee.signature.partition("(")[0], cursor, cursor)
    return Documentation(
        found.name,
        found.kind,
        found.signatures,
        found.summary,
        found.text,
        found.markdown,
        cursor,
        cursor,
        argument,
    )


def _plainly(
    name: str, meaning: Meaning, signatures: tuple[str, ...], summary: str, start: int, end: int
) -> Documentation:
    text = "\n".join([*signatures, *(("", summary) if summary else ())]).strip()
    fenced = [f"```lua\n{each}\n```" for each in signatures]
    shown = "\n\n".join([*fenced, *((summary,) if summary else ())])
    return Documentation(name, meaning.kind, signatures, summary, text, shown, start, end)


def _of_member(meaning: Member, start: int, end: int) -> Documentation:
    described, owner = meaning.described, meaning.owner
    object_name, separator = owner.described.name, owner.separator
    shown = described.twins[0] if meaning.twin else described.name
    return Documentation(
        name=f"{object_name}{'.' if described.kind == 'field' else separator}{shown}",
        kind=meaning.kind,
        signatures=(meaning.signature,),
        summary=meaning.summary,
        text=member_text(described, object_name, separator, twin=meaning.twin),
        markdown=member_markdown(described, object_name, separator, twin=meaning.twin),
        start=start,
        end=end,
    )


# Members ----------------------------------------------------------------------------------------


def member_text(
    member: MemberDescription, owner: str, separator: str, *, twin: bool = False
) -> str:
    """Everything about a member, for a terminal."""
    write = twin_signature if twin else signature
    lines = [write(member, owner, separator), ""]
    lines += [f"  {line}".rstrip() for line in plain(member.doc).splitlines()]
    for head, items in _sections(member, twin=twin):
        lines += ["", f"  {head}" if items else f"  {plain(head)}"]
        lines += [f"    {plain(item)}" for item in items]
    return "\n".join(lines).rstrip()


def member_markdown(
    member: MemberDescription, owner: str, separator: str, *, twin: bool = False
) -> str:
    """Everything about a member, for an editor or a page."""
    write = twin_signature if twin else signature
    parts = [f"```lua\n{write(member, owner, separator)}\n```"]
    if member.doc:
        parts.append(markdown(member.doc))
    parts += member_sections(member, twin=twin)
    return "\n\n".join(parts)


def member_sections(member: MemberDescription, *, twin: bool = False) -> list[str]:
    """What follows signature and text, as paragraphs of Markdown."""
    parts: list[str] = []
    for head, items in _sections(member, twin=twin):
        listed = "\n".join(f"- {markdown(item)}" for item in items)
        parts.append(f"{head}\n\n{listed}" if items else markdown(head))
    return parts


def _sections(member: MemberDescription, *, twin: bool) -> list[tuple[str, list[str]]]:
    """Heads with their items; a head without items is a sentence."""
    found: list[tuple[str, list[str]]] = []
    arguments = [_argument(parameter) for parameter in member.parameters if _says_more(parameter)]
    if arguments:
        found.append(("Parameters:", arguments))
    found += [
        (f"Keys of {parameter.name}:", [_option(key) for key in option.keys])
        for parameter in member.parameters
        for option in (parameter.type, *parameter.type.of)
        if option.keys
    ]
    if member.returns_doc:
        found.append((f"Returns: {member.returns_doc.rstrip('.')}.", []))
    if not twin and member.fails in _FAILURES:
        found.append((_FAILURES[member.fails], []))
    if member.raises:
        found.append(("Raises:", [f"{when}" for _, when in member.raises]))
    others = other_names(member.names)
    if others:
        found.append((f"Also: {', '.join(f'``{name}``' for name in others)}.", []))
    if member.twins and not twin:
        found.append(
            (
                f"Does not wait as ``{member.twins[0]}``, which takes a callback last and gives "
                "a promise.",
                [],
            )
        )
    return found


def _says_more(parameter: ParameterDescription) -> bool:
    return bool(parameter.doc) or parameter.default not in (None, "")


def _argument(parameter: ParameterDescription) -> str:
    name = "..." if parameter.variadic else parameter.name
    text = f"``{name}``"
    if parameter.doc:
        text += f": {parameter.doc}"
    if parameter.default not in (None, "") and "efault" not in parameter.doc:
        text = text.rstrip(".") + f" (default ``{literal(parameter.default)}``)"
    return text


def _option(key: OptionKey) -> str:
    mark = "" if key.required else "?"
    text = f"``{key.name}{mark}: {type_text(key.type)}``"
    return f"{text}: {key.doc}" if key.doc else text


# Objects ----------------------------------------------------------------------------------------


def object_text(described: ObjectDescription, separator: str) -> str:
    """A global or a handle with one line for each member, for a terminal."""
    lines = [described.name, ""]
    lines += [f"  {line}".rstrip() for line in plain(described.doc).splitlines()]
    rows = member_rows(described, separator)
    if rows:
        lines.append("")
        lines += [
            f"  {left}\n      {plain(right)}" if right else f"  {left}" for left, right in rows
        ]
    if described.other_doc:
        lines += ["", f"  Further fields: {plain(described.other_doc)}"]
    return "\n".join(lines).rstrip()


def object_markdown(described: ObjectDescription, separator: str) -> str:
    """The same as Markdown."""
    parts = [f"**{described.name}**"]
    if described.doc:
        parts.append(markdown(described.doc))
    rows = [
        f"- `{left}`" + (f": {markdown(right)}" if right else "")
        for left, right in member_rows(described, separator)
    ]
    if rows:
        parts.append("\n".join(rows))
    if described.other_doc:
        parts.append(f"Further fields: {markdown(described.other_doc)}")
    return "\n\n".join(parts)


def member_rows(described: ObjectDescription, separator: str) -> list[tuple[str, str]]:
    """Signature and first sentence of each member."""
    return [
        (signature(member, described.name, separator), member.summary)
        for member in described.members
    ]
