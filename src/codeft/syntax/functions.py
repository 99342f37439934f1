"""Functions out of whole source files: code without documentation, and the documentation."""

from __future__ import annotations

import bisect
import re
from dataclasses import dataclass

from codeft.syntax.docstrings import split_docstring
from codeft.syntax.languages import canonical_language
from codeft.syntax.nodes import NodeTable
from codeft.syntax.prose import clean_docstring
from codeft.syntax.tree import parse_nodes

_FUNCTIONS = {
    "python": {"function_definition"},
    "java": {"method_declaration", "constructor_declaration"},
    "javascript": {"function_declaration", "generator_function_declaration", "method_definition"},
    "go": {"function_declaration", "method_declaration"},
    "php": {"function_definition", "method_declaration"},
    "ruby": {"method", "singleton_method"},
    "csharp": {"method_declaration", "constructor_declaration", "local_function_statement"},
    "c": {"function_definition"},
    "cpp": {"function_definition"},
}
_SCOPES = {
    *("class_definition", "class_declaration", "interface_declaration", "enum_declaration"),
    *("record_declaration", "struct_declaration", "trait_declaration", "class", "module"),
    *("class_specifier", "struct_specifier"),
}
_ASSIGNED = {"arrow_function", "function_expression", "generator_function"}
_NAME_OF_ASSIGNED = {
    "variable_declarator": "name",
    "assignment_expression": "left",
    "field_definition": "property",
    "pair": "key",
}
_AROUND = {
    *("template_declaration", "export_statement", "lexical_declaration", "variable_declaration"),
    *("variable_declarator", "assignment_expression", "expression_statement", "field_definition", "pair"),
    *("call", "argument_list"),  # Ruby's `private def …`
}
"""Nodes around a function that a doc comment may stand before."""

_NAMES = {"identifier", "variable_name", "field_identifier", "simple_identifier"}
_NOT_A_NAME = {"type", "value", "right", "default_value"}
_ANNOTATIONS = {"modifiers", "attribute_list"}
_DOC_MARK = {
    "java": re.compile(r"/\*\*"),
    "javascript": re.compile(r"/\*\*"),
    "php": re.compile(r"/\*\*"),
    "csharp": re.compile(r"///|/\*\*"),
    "ruby": re.compile(r"#(?!!)|=begin"),
    "go": re.compile(r"//|/\*"),
    "c": re.compile(r"//|/\*"),
    "cpp": re.compile(r"//|/\*"),
}


@dataclass(frozen=True, slots=True)
class Function:
    """A function or method found in a file.

    Attributes:
        name: Its own name.
        qualified_name: With the classes around it, such as `Stack.push`.
        start_line: Line on which its code begins in the file, from 1.
        end_line: Line on which it ends.
        code: Its text without documentation, with its layout, moved to column 0 (text inside strings of
            several lines moves too).
        docstring: Its documentation without quotes, comment marks and tags; "" for none.
        parameters: Names of its parameters; destructured ones have none.
    """

    name: str
    qualified_name: str
    start_line: int
    end_line: int
    code: str
    docstring: str
    parameters: tuple[str, ...]


def extract_functions(source: str, lang: str) -> list[Function]:
    r"""Return the functions of a file in their order.

    Functions inside functions belong to the code of the outer one and aren't listed. Declarations without a
    body aren't either, nor are anonymous functions, unless they are assigned to a name.

    Args:
        source: A whole file or a snippet; it needn't parse.
        lang: Name or alias of the language.

    Raises:
        CodeftError: The language is unknown.

    Examples:
        >>> extract_functions('class A:\n    def f(self):\n        "Doc."\n        return 1\n', "py")[0]
        ... # doctest: +NORMALIZE_WHITESPACE
        Function(name='f', qualified_name='A.f', start_line=2, end_line=4,
                 code='def f(self):\n    return 1', docstring='Doc.', parameters=('self',))
    """
    lang = canonical_language(lang)
    return _Extractor(source, lang).functions()


class _Extractor:
    """One pass over one file's nodes."""

    def __init__(self, source: str, lang: str) -> None:
        self.source = source
        self.lang = lang
        self.nodes: NodeTable = parse_nodes(source, lang)
        self.starts = self.nodes.starts.tolist()
        self.ends = self.nodes.ends.tolist()
        self.parents = self.nodes.parents.tolist()
        self.children: list[list[int]] = [[] for _ in self.parents]
        for index, parent in enumerate(self.parents):
            if parent >= 0:
                self.children[parent].append(index)
        self.line_feeds = [match.start() for match in re.finditer("\n", source)]

    def functions(self) -> list[Function]:
        found: list[Function] = []
        comments: list[int] = []
        scopes: list[tuple[int, str]] = []  # (depth, name) of the classes around the current node
        inside = None  # depth of the function around the current node
        types = self.nodes.types
        for index, depth in enumerate(self.nodes.depths.tolist()):
            if inside is not None and depth > inside:
                continue
            inside = None
            while scopes and scopes[-1][0] >= depth:
                scopes.pop()
            if "comment" in types[index]:
                comments.append(index)
            elif types[index] in _SCOPES and (name := self._field(index, "name")) is not None:
                scopes.append((depth, self._text(name).replace("::", ".")))
            elif path := self._function_path(index):
                found.append(self._function(index, [*(name for _, name in scopes), *path], comments))
                inside = depth
        return found

    def _function_path(self, index: int) -> list[str]:
        """Return the name of the function at a node, split at its dots; [] where there is no function."""
        kind = self.nodes.types[index]
        name: int | None
        if kind in _FUNCTIONS[self.lang]:
            # Ruby alone has functions whose body may be absent.
            if self._field(index, "body") is None and self.lang != "ruby":
                return []
            name = self._declared_name(index) if self.lang in ("c", "cpp") else self._field(index, "name")
        elif self.lang == "javascript" and kind in _ASSIGNED:
            parent = self.parents[index]
            name = self._field(parent, _NAME_OF_ASSIGNED.get(self.nodes.types[parent], ""))
        else:
            return []
        if name is None or self.starts[name] == self.ends[name]:
            return []
        path = re.split(r"\s*(?:::|\.)\s*", self._text(name).strip())
        if self.lang == "go" and (receiver := self._field(index, "receiver")) is not None:
            path = [*re.findall(r"\*?(\w+)\s*(?:\[.*\])?\s*\)$", self._text(receiver)), *path]
        return [part for part in path if part]

    def _function(self, index: int, path: list[str], comments: list[int]) -> Function:
        whole = self._statement(index)
        start, end = self.starts[whole], self.ends[whole]
        code = _dedent(self.source, start, end)
        if self.lang == "python":
            code, raw = split_docstring(code, "python")
        else:
            raw = self._comment_before(index, comments)
        return Function(
            name=path[-1],
            qualified_name=".".join(path),
            start_line=bisect.bisect_left(self.line_feeds, start) + 1,
            end_line=bisect.bisect_left(self.line_feeds, end) + 1,
            code=code.rstrip(),
            docstring=clean_docstring(raw, self.lang),
            parameters=tuple(self._parameters(index)),
        )

    def _statement(self, index: int) -> int:
        """Return the node whose text is the function's code: with the name that it is assigned to."""
        parent = self.parents[index]
        kind = self.nodes.types[parent] if parent >= 0 else ""
        if kind in ("template_declaration", "field_definition"):
            return parent
        outer = self.parents[parent] if kind in ("variable_declarator", "assignment_expression") else -1
        if outer < 0:
            return index
        named = [child for child in self.children[outer] if not self.nodes.childless[child]]
        return outer if self.nodes.types[outer] in _AROUND and len(named) == 1 else index

    def _declared_name(self, index: int) -> int | None:
        """Follow a C declaration inward to the name that it declares."""
        node: int | None = index
        while node is not None:
            inner = self._field(node, "declarator")
            if inner is None:
                candidates = [
                    child for child in self.children[node] if "declarator" in self.nodes.types[child]
                ]
                inner = candidates[-1] if candidates else None
            if inner is None or not self.nodes.types[inner].endswith("declarator"):
                return inner
            node = inner
        return None

    def _parameters(self, index: int) -> list[str]:
        single = self._field(index, "parameter")  # x => …
        if single is not None:
            return [self._text(single)]
        holder = self._field(index, "parameters")
        if holder is None and self.lang in ("c", "cpp"):
            name = self._declared_name(index)
            holder = self._field(self.parents[name], "parameters") if name is not None else None
        if holder is None:
            return []
        found = []
        for parameter in self.children[holder]:
            if self.lang == "go":
                named = [child for child in self.children[parameter] if self.nodes.fields[child] == "name"]
                found += [self._text(child) for child in named]
            elif (name := self._parameter_name(parameter)) is not None:
                found.append(self._text(name).lstrip("$"))
        return found

    def _parameter_name(self, parameter: int) -> int | None:
        todo = [parameter]
        while todo:
            node = todo.pop()
            kind = self.nodes.types[node]
            if kind in _NAMES:
                return node
            if kind in _ANNOTATIONS or kind.endswith(("object_pattern", "array_pattern")):
                continue
            todo += [
                child
                for child in reversed(self.children[node])
                if self.nodes.fields[child] not in _NOT_A_NAME
            ]
        return None

    def _comment_before(self, index: int, comments: list[int]) -> str:
        """Return the doc comment that ends where the function, or what is around it, begins."""
        while self.parents[index] >= 0 and self.nodes.types[self.parents[index]] in _AROUND:
            index = self.parents[index]
        first: int | None = None
        edge = last = self.starts[index]
        for comment in reversed(comments):
            start, end = self.starts[comment], self.ends[comment]
            is_block = self.source.startswith(("/*", "=begin"), start)
            between = self.source[end:edge]
            line_feeds = between.count("\n") + self.source[start:end].endswith("\n")
            alone = not self.source[self.source.rfind("\n", 0, start) + 1 : start].strip() or is_block
            mark = _DOC_MARK[self.lang].match(self.source, start)
            if between.strip() or line_feeds > (2 if is_block else 1) or not alone or not mark:
                break
            if first is not None and is_block:
                break
            last = end if first is None else last
            first = edge = start
            if is_block:
                break
        return "" if first is None else self.source[first:last]

    def _field(self, index: int, field: str) -> int | None:
        for child in self.children[index]:
            if field and self.nodes.fields[child] == field:
                return child
        return None

    def _text(self, index: int) -> str:
        return self.source[self.starts[index] : self.ends[index]]


def _dedent(source: str, start: int, end: int) -> str:
    """Return a span moved to the left by the indentation of the line that it begins on."""
    line_start = source.rfind("\n", 0, start) + 1
    indentation = re.compile(r"[ \t]*").match(source, line_start, start)
    assert indentation is not None
    first, *rest = source[start:end].split("\n")
    return "\n".join([first, *(line.removeprefix(indentation[0]) for line in rest)])
