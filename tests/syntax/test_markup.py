"""Links, tags and entities of documentation as a reader sees them."""

from __future__ import annotations

import pytest

from codeft.syntax.prose import clean_docstring


@pytest.mark.parametrize(
    ("lang", "text", "expected"),
    [
        (
            "java",
            "Returns the {@link #sum() grand total} of {@code items}.",
            "Returns the grand total of items.",
        ),
        (
            "java",
            "See {@link #sum()} and {@linkplain java.util.List#add(int, Object) the add}.",
            "See sum() and the add.",
        ),
        (
            "java",
            "A {@code Map<K, V>} of {@literal <b>} and {@link Map<K, V> maps}.",
            "A Map<K, V> of <b> and maps.",
        ),
        ("java", "Any List&lt;T&gt; &amp; a &#39;b&#x27;&nbsp;c.", "Any List<T> & a 'b' c."),
        (
            "java",
            'A <a href="x.html">page</a> of a List<A> and <B>bold</B>.',
            "A page of a List<A> and bold.",
        ),
        ("java", "Reads &copy_of and a && b.", "Reads &copy_of and a && b."),
        ("javascript", "Calls [the hook]{@link Hook#run} or {@link Job|a job}.", "Calls the hook or a job."),
        (
            "javascript",
            'See [the page](https://example.org/a_(b) "Title") for more.',
            "See the page for more.",
        ),
        ("php", "Gets {@see Foo::bar() the bar} of <b>all</b>.", "Gets the bar of all."),
        ("csharp", 'Gets <see cref="T:A.B"/> or <see langword="null" />.', "Gets A.B or null."),
        (
            "csharp",
            'Gets <see cref="A.B">the b</see> of <paramref name="c"/> in <c>d</c>.',
            "Gets the b of c in d.",
        ),
        (
            "csharp",
            'Reads <see href="https://example.org">the page</see> &amp; more.',
            "Reads the page & more.",
        ),
        ("ruby", "Calls {Hook#run the hook} of {Job} on {#start}.", "Calls the hook of Job on start."),
        ("ruby", "Takes {a: 1} and {key => value}.", "Takes {a: 1} and {key => value}."),
        ("ruby", "Reads {the page}[https://example.org] or page[rdoc-ref:Page].", "Reads the page or page."),
        (
            "go",
            "Reads [io.Reader] and [the page](https://example.org), then a[i].",
            "Reads io.Reader and the page, then a[i].",
        ),
        (
            "cpp",
            'Returns \\c size of @p data, see @ref queue "the queue".',
            "Returns size of data, see the queue.",
        ),
        ("python", "Calls :func:`the hook <app.run>` of :class:`~app.Job`.", "Calls the hook of Job."),
        ("python", "Calls :py:meth:`Job.run` or :obj:`!None`.", "Calls Job.run or None."),
        (
            "python",
            "Reads `the page <https://example.org>`_ or [it](https://example.org).",
            "Reads the page or it.",
        ),
        (
            "python",
            "Turns ``&amp;`` into ``&`` with a[i](b) and <b>.",
            "Turns ``&amp;`` into ``&`` with a[i](b) and <b>.",
        ),
    ],
)
def test_a_label_stands_for_its_link(lang, text, expected):
    marks = {"python": '"""{}"""', "ruby": "# {}", "go": "// {}", "csharp": "/// {}"}
    assert clean_docstring(marks.get(lang, "/** {} */").replace("{}", text), lang) == expected


def test_links_go_over_line_ends():
    raw = "/**\n * Returns the {@link\n * Total#of grand\n * total} of all.\n */"
    assert " ".join(clean_docstring(raw, "java").split()) == "Returns the grand total of all."
