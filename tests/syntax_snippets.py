"""One file of each language, with what is awkward: comments, strings with escapes, non-ASCII text."""

SNIPPETS = {
    "python": '''
# Größe
def area(π, r, *rest, unit="m\\u00b2"):
    """Área."""
    s = f"{π} → {r!r}\\n"  # ←
    return [x for x in (π * r ** 2, s) if x is not None]
''',
    "java": """
/** Стек. */
class Stack<T> {
  private T[] items; // 要素
  @Override public T pop(int n) { String s = "é\\n" + 'x'; if (n < 1) return null; return items[--n]; }
}
""",
    "javascript": """
// naïve
export const add = async (a, {b}) => { const s = `é ${a} \\u00e9`; return a + b; /* ∑ */ };
class A { get x() { return /[a-z]+/g.test("\\n…") ? 1 : 2; } }
""",
    "go": """
package main

// Größe misst.
func (s *Stack) Push(a, b int, c ...string) (int, error) { x := "é\\t" + `raw ü`; return len(x), nil }
""",
    "php": """<?php
namespace Été;
/** Doc. */
class C { public function f(int $a, &$b): string { return "é $a {$b}\\n"; } } # ü
""",
    "ruby": """
# Größe
class A::B
  def f(a, b = 1, *c, k: :é)
    "é #{a}\\n" + %w[x y].map(&:to_s).join(',') if a
  end
end
""",
    "csharp": """
namespace N {
  /// <summary>Größe.</summary>
  public class A { public int F(int a, ref string b) => $"é {a}\\n".Length; /* ü */ }
}
""",
    "c": """
#include <stdio.h>
/* Größe */
static int *f(const char *s, int n) { printf("é %d\\n", n); return n > 0 ? &n : 0; } // ü
""",
    "cpp": """
namespace n { template <class T> struct S { ~S() {} T &get(const std::string &k) { return m["é\\n"][k]; } }; }
int A::g(void) { auto f = [&](int x) { return x << 1; }; return f(1); } // ü
""",
}
