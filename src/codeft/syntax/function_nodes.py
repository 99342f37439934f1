"""Which nodes of a tree are functions, what they are called, and what the parser only took for one."""

from __future__ import annotations

import re

from codeft.syntax.file_tree import FUNCTIONS, FileTree

_NAMELESS = {
    "javascript": {"arrow_function", "function_expression", "generator_function"},
    "go": {"func_literal"},
    "php": {"anonymous_function", "arrow_function"},
    "java": {"lambda_expression"},
    "csharp": {"lambda_expression", "anonymous_method_expression"},
    "cpp": {"lambda_expression"},
}
"""Functions that are called what they are assigned to, alone or inside a call."""

_NAME_OF_ASSIGNED = {
    "variable_declarator": "name",
    "assignment_expression": "left",
    "field_definition": "property",
    "pair": "key",
    "var_spec": "name",
    "init_declarator": "declarator",
    "export_statement": "",
}
_ARGUMENTS = {"arguments", "argument_list", "argument", "expression_list", "parenthesized_expression"}
_CALLS = {
    *("call_expression", "function_call_expression", "member_call_expression", "scoped_call_expression"),
    *("method_invocation", "invocation_expression"),
}
_NO_WRAPPER = re.compile(
    r"(?:.*[.>:?])?(?:map|filter|forEach|reduce\w*|find\w*|some|every|flatMap|sort|toSorted|replace\w*"
    r"|then|catch|finally"
    r"|each|times|setTimeout|setInterval|setImmediate|requestAnimationFrame|requestIdleCallback"
    r"|queueMicrotask|nextTick"
    r"|use\w*Effect|useMemo|describe|it|test|before|after|beforeEach|afterEach|array_\w+|usort|uasort"
    r"|uksort|call_user_\w+"
    r"|sort_by|collect|stream|for_each|transform|from|Select|Where|OrderBy|Any|All|First\w*|Sum|Run"
    r"|anyMatch|allMatch)"
)
"""Calls that return something other than the function that they are given, or call it once."""

_STATEMENTS = {
    *("lexical_declaration", "variable_declaration", "expression_statement", "field_declaration"),
    *("var_declaration", "declaration"),
}
_AROUND = {
    *("template_declaration", "export_statement", "lexical_declaration", "variable_declaration"),
    *("variable_declarator", "assignment_expression", "expression_statement", "field_definition", "pair"),
    *("call", "argument_list"),  # Ruby's `private def …`
    *("var_declaration", "declaration", "field_declaration"),
}
"""Nodes around a function that a doc comment may stand before."""

_NO_C_NAMES = {
    *(
        "if",
        "else",
        "for",
        "while",
        "do",
        "switch",
        "case",
        "default",
        "return",
        "try",
        "catch",
        "finally",
        "throw",
    ),
    *(
        "new",
        "delete",
        "break",
        "continue",
        "goto",
        "class",
        "struct",
        "union",
        "enum",
        "namespace",
        "template",
    ),
    *("typename", "public", "private", "protected", "static", "const", "void", "sizeof", "using", "import"),
    *("package", "interface", "extends", "implements", "synchronized", "foreach", "lock", "fixed", "checked"),
    *("unchecked", "in", "is", "as", "ref", "out", "base", "this", "extern", "inline", "typedef", "operator"),
}
_RESERVED = {
    "c": _NO_C_NAMES
    - {"new", "delete", "class", "template", "in", "is", "as", "ref", "out", "base", "lock", "this"},
    "cpp": _NO_C_NAMES
    - {"in", "is", "as", "ref", "out", "base", "lock", "fixed", "checked", "import", "package"},
    "java": _NO_C_NAMES
    - {"in", "is", "as", "ref", "out", "base", "lock", "fixed", "checked", "unchecked", "delete"},
    "csharp": _NO_C_NAMES
    - {"import", "package", "extends", "implements", "synchronized", "union", "template"},
    "go": {
        "if",
        "else",
        "for",
        "switch",
        "case",
        "return",
        "func",
        "type",
        "struct",
        "range",
        "select",
        "defer",
    },
    "python": {
        "if",
        "else",
        "elif",
        "for",
        "while",
        "try",
        "except",
        "with",
        "return",
        "class",
        "def",
        "lambda",
    },
}
_STATEMENT_WORDS = {"if", "else", "for", "while", "do", "switch", "catch", "with", "try"}
"""What a method may be called in JavaScript, but hardly one behind a brace or with an error inside."""

_OUTSIDE = {  # what no function's body holds, unless a class in it does
    "c": {"function_definition", "linkage_specification"},
    "cpp": {"namespace_definition", "template_declaration", "function_definition", "linkage_specification"},
    "java": {"method_declaration", "constructor_declaration", "package_declaration", "import_declaration"},
    "csharp": {
        *(
            "namespace_declaration",
            "file_scoped_namespace_declaration",
            "class_declaration",
            "struct_declaration",
        ),
        *("interface_declaration", "enum_declaration", "method_declaration", "constructor_declaration"),
        *("property_declaration", "using_directive"),
    },
    "go": {"function_declaration", "method_declaration", "package_clause", "import_declaration"},
    "javascript": {"import_statement", "export_statement"},
    "php": {"namespace_definition", "method_declaration"},
    "ruby": {"class", "module"},
    "python": set(),
}
_CLASSES = {
    *(
        "class_specifier",
        "struct_specifier",
        "union_specifier",
        "class_body",
        "declaration_list",
        "enum_body",
    ),
    *("interface_body", "field_declaration_list", "anonymous_class", "object_creation_expression"),
    "lambda_expression",
}
_ACCESS = re.compile(r"(?:public|private|protected)\s*:")
_PLAIN_HEADER = re.compile(r"[\w\s*&:~]+")
_NAMES = {"identifier", "variable_name", "field_identifier", "simple_identifier"}
_NOT_A_NAME = {"type", "value", "right", "default_value"}
_ANNOTATIONS = {"modifiers", "attribute_list"}
_TYPE_ARGUMENTS = re.compile(r"<[^<>]*>")


def function_path(tree: FileTree, index: int) -> list[str]:
    """Return the name of the function at a node, split at its dots; [] where there is no function.

    Args:
        tree: The file's.
        index: A node of it.
    """
    kind = tree.types[index]
    if kind in FUNCTIONS[tree.lang]:
        # Ruby alone has functions whose body may be absent.
        if tree.field(index, "body") is None and tree.lang != "ruby":
            return []
        path = _declared_path(tree, index)
    elif kind in _NAMELESS.get(tree.lang, ()):
        path = _assigned_path(tree, index)
    else:
        return []
    return [] if path and _is_misparsed(tree, index, path[-1]) else path


def declared_name(tree: FileTree, index: int) -> int | None:
    """Follow a C declaration inward to the name that it declares; None where it declares no function."""
    node: int | None = index
    is_function = False
    while node is not None:
        if tree.types[node] in ("qualified_identifier", "operator_cast"):
            cast = tree.field(node, "name") if tree.types[node] == "qualified_identifier" else node
            while cast is not None and tree.types[cast] == "qualified_identifier":
                cast = tree.field(cast, "name")
            is_function |= cast is not None and tree.types[cast] == "operator_cast"
            return node if is_function else None
        is_function |= tree.types[node] == "function_declarator"
        inner = tree.field(node, "declarator")
        if inner is None:
            candidates = [child for child in tree.children[node] if "declarator" in tree.types[child]]
            inner = candidates[-1] if candidates else None
        if inner is None or not (
            tree.types[inner].endswith("declarator")
            or tree.types[inner] in ("qualified_identifier", "operator_cast")
        ):
            return inner if is_function else None
        node = inner
    return None


def statement(tree: FileTree, index: int) -> int:
    """Return the node whose text is the function's code: with the name that it is assigned to."""
    node = _wrapped(tree, index)
    parent = tree.parents[node]
    kind = tree.kind_of(parent)
    if kind in ("template_declaration", "field_definition"):
        return parent
    if kind not in _NAME_OF_ASSIGNED or tree.types[index] in FUNCTIONS[tree.lang]:
        return node
    whole = parent
    while tree.kind_of(outer := tree.parents[whole]) in _STATEMENTS:
        if sum(tree.types[child] == tree.types[whole] for child in tree.children[outer]) > 1:
            break
        whole = outer
    return whole if tree.types[whole] in (*_STATEMENTS, "var_spec") else node


def with_surroundings(tree: FileTree, whole: int) -> int:
    """Return the outermost node around a function that documentation may stand before."""
    while tree.parents[whole] >= 0 and tree.types[tree.parents[whole]] in _AROUND:
        whole = tree.parents[whole]
    return whole


def parameters(tree: FileTree, index: int) -> list[str]:
    """Return the names of a function's parameters; destructured ones have none."""
    single = tree.field(index, "parameter")  # x => …
    if single is not None:
        return [tree.text_of(single)]
    holder = tree.field(index, "parameters")
    if holder is not None and tree.types[holder] == "identifier":  # Java's x -> …
        return [tree.text_of(holder)]
    if holder is None and tree.lang in ("c", "cpp"):
        declarator = tree.field(index, "declarator")
        if declarator is not None and tree.types[declarator] != "abstract_function_declarator":
            name = declared_name(tree, index)
            declarator = tree.parents[name] if name is not None else None
        holder = tree.field(declarator, "parameters") if declarator is not None else None
    if holder is None:
        return []
    found = []
    for parameter in tree.children[holder]:
        if tree.lang == "go":
            named = [child for child in tree.children[parameter] if tree.nodes.fields[child] == "name"]
            found += [tree.text_of(child) for child in named]
        elif (name := _parameter_name(tree, parameter)) is not None:
            found.append(tree.text_of(name).lstrip("$"))
    return found


def _parameter_name(tree: FileTree, parameter: int) -> int | None:
    todo = [parameter]
    while todo:
        node = todo.pop()
        kind = tree.types[node]
        if kind in _NAMES:
            return node
        if kind in _ANNOTATIONS or kind.endswith(("object_pattern", "array_pattern")):
            continue
        todo += [
            child for child in reversed(tree.children[node]) if tree.nodes.fields[child] not in _NOT_A_NAME
        ]
    return None


def _declared_path(tree: FileTree, index: int) -> list[str]:
    """Return the dotted name of a function that says itself what it is called."""
    if tree.lang in ("c", "cpp"):
        name = declared_name(tree, index)
    elif tree.types[index] == "operator_declaration":
        name = tree.field(index, "operator")
    elif tree.types[index] == "conversion_operator_declaration":
        name = tree.field(index, "type")
    else:
        name = tree.field(index, "name")
    if name is None or tree.starts[name] == tree.ends[name]:
        return []
    text = tree.text_of(name).strip()
    if tree.types[index] == "destructor_declaration":
        return [f"~{text}"]
    if tree.types[index].endswith("operator_declaration"):
        return [f"operator {text}" if text[:1].isalpha() else f"operator{text}"]
    path = split_name(text, tree.lang)
    if tree.lang == "go" and (receiver := tree.field(index, "receiver")) is not None:
        path = [*re.findall(r"\*?(\w+)\s*(?:\[.*\])?\s*\)$", tree.text_of(receiver)), *path]
    return path


def split_name(text: str, lang: str) -> list[str]:
    """Return the parts of a name as it stands in the source, without C++'s template arguments.

    Examples:
        >>> split_name("Pool<int, char>::take", "cpp"), split_name("exports.f", "javascript")
        (['Pool', 'take'], ['exports', 'f'])
    """
    if lang == "javascript" and text[:1] in "[\"'":  # a computed name, or a string
        key = text.strip("\"'")
        return [key] if re.search(r"\w", key) else []
    operator = re.search(r"\boperator\b\s*(.+)", text, re.DOTALL) if lang == "cpp" else None
    if operator:
        text = text[: operator.start()]
    while "<" in text and lang == "cpp":
        shorter = _TYPE_ARGUMENTS.sub("", text)
        if shorter == text:
            break
        text = shorter
    path = [part for part in re.split(r"\s*(?:::|\.)\s*", text.strip()) if part]
    if operator:
        what = operator[1].strip()
        symbol = what if what.startswith("()") else what.partition("(")[0].strip()
        path.append(
            "operator" + (f" {' '.join(symbol.split())}" if symbol[:1].isalpha() else "".join(symbol.split()))
        )
    return path


def _assigned_path(tree: FileTree, index: int) -> list[str]:
    """Return the dotted name that a nameless function, or the call that wraps it, is assigned to."""
    node = _wrapped(tree, index)
    parent = tree.parents[node]
    kind = tree.kind_of(parent)
    if kind not in _NAME_OF_ASSIGNED:
        return []
    if kind == "export_statement":
        name = tree.field(index, "name")
        return ["default"] if name is None else [tree.text_of(name)]
    name = tree.field(parent, _NAME_OF_ASSIGNED[kind])
    if name is None or name == node or tree.starts[name] == tree.ends[name]:
        return []
    return [part.lstrip("$") for part in split_name(tree.text_of(name).strip(), tree.lang)]


def _wrapped(tree: FileTree, index: int) -> int:
    """Return the outermost call around a function that stands for it: `memo(forwardRef(() => …))`."""
    node = index
    if tree.types[index] in FUNCTIONS[tree.lang]:
        return node
    while True:
        holder = tree.parents[node]
        while tree.kind_of(holder) in _ARGUMENTS and tree.kind_of(tree.parents[holder]) in (
            _CALLS | _ARGUMENTS
        ):
            holder = tree.parents[holder]
        if tree.kind_of(holder) in ("expression_list", "parenthesized_expression"):
            return holder
        if tree.kind_of(holder) not in _CALLS or not _stands_for(tree, holder, node):
            return node
        node = holder


def _stands_for(tree: FileTree, call: int, node: int) -> bool:
    """Whether what a call returns is the function that it is given, or a form of it."""
    if tree.field(call, "function") == node:  # styled(() => …)`…`
        return tree.kind_of(tree.field(call, "arguments") or -1) == "template_string"
    callee = tree.field(call, "function")
    callee = tree.field(call, "name") if callee is None else callee
    if callee is None or _NO_WRAPPER.fullmatch(tree.text_of(callee)):
        return False
    arguments = tree.field(call, "arguments")
    given = [
        tree.ends[child] - tree.starts[child]
        for child in (tree.children[arguments] if arguments is not None else ())
        if tree.types[child] in (_NAMELESS[tree.lang] | _CALLS | {"argument", "parenthesized_expression"})
    ]
    return tree.ends[node] - tree.starts[node] >= max(given, default=0)


def _is_misparsed(tree: FileTree, index: int, name: str) -> bool:
    """Whether the parser made a function out of an error."""
    if re.search(r"[\s(){};]", name.removeprefix("operator ").removeprefix("operator()")):
        return True
    if name in _RESERVED.get(tree.lang, ()):
        return True
    if not tree.nodes.num_errors:
        return False
    end = tree.end_of(index)
    if tree.types[index] == "method_definition" and name in _STATEMENT_WORDS:
        before = tree.source[: tree.starts[index]].rstrip(" \t")
        if before.endswith("}") or tree.has_errors(index, end):
            return True
    body = tree.field(index, "body")
    if body is None:
        body = end
    if tree.has_errors(index, body) and not _has_plain_errors(tree, index, body):
        return True
    return any(
        tree.types[node] in _OUTSIDE[tree.lang] and not _in_class(tree, node, index)
        for node in range(body, end)
    ) or (
        tree.lang == "cpp"
        and body < end
        and any(
            tree.types[node] == "labeled_statement" and _ACCESS.match(tree.text_of(node))
            for node in range(body, end)
        )
    )


def _has_plain_errors(tree: FileTree, first: int, end: int) -> bool:
    """Whether all that the parser couldn't place in a C function's head are words, such as a macro's."""
    return tree.lang in ("c", "cpp") and all(
        tree.types[node] != "ERROR" or bool(_PLAIN_HEADER.fullmatch(tree.text_of(node)))
        for node in range(first, end)
    )


def _in_class(tree: FileTree, node: int, function: int) -> bool:
    node = tree.parents[node]
    while node != function and node >= 0:
        if tree.types[node] in _CLASSES:
            return True
        node = tree.parents[node]
    return False
