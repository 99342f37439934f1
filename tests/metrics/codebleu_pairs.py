"""A function of each language and one that a model might have made of it."""

PAIRS = {
    "python": (
        'def f(xs, n=2):\n    """Sum."""\n    t = 0  # total\n    for x in xs:\n        t += x // n\n'
        "    a, b = t, n\n    while a: a = a - b\n    return a\n",
        "def f(ys, m=2):\n    s = 0\n    for y in ys:\n        s += y // m\n"
        "    c, d = s, m\n    while c: d = c - d\n    return d\n",
    ),
    "java": (
        "int f(int[] xs) { int t = 0; /* ü */ for (int x : xs) { t += x; }"
        " for (int i = 0; i < t; i++) { t -= i; } if (t > 1) t = 2; else t++; return t; }",
        "int f(int[] ys) { int s = 0; for (int y : ys) { s += y; }"
        " for (int i = 0; i < s; i++) { s -= s; } if (s > 1) s = 2; return s; }",
    ),
    "javascript": (
        "function f(xs) { let t = 0; for (const x of xs) { t = t + x; } // sum\n"
        " for (var i = 0; i < t; i++) { t -= i } if (t) { t = 1; } else { t++; } return t; }",
        "function f(ys) { let s = 0; for (const y of ys) { s = y + s; }\n"
        " for (var i = 0; i < s; i++) { s -= 1 } if (s) { s = 1; } else { s--; } return ys; }",
    ),
    "go": (
        "package p\nfunc f(xs []int) int { t := 0; for _, x := range xs { t += x }\n"
        " for i := 0; i < t; i++ { t = i }; var a = t; a++ /* one */\n return a }",
        "package p\nfunc f(ys []int) int { s := 0; for _, y := range ys { s += y }\n"
        " for i := 0; i < s; i++ { s = s }; var a = i; a++\n return a }",
    ),
    "php": (
        "<?php\nfunction f($xs, $n = 1) { $t = $n; # one\n foreach ($xs as $x) { $t += $x; }"
        " if ($t) { $t = 1; } elseif ($n) { $n++; } else { $t = $n; } return $t; }",
        "<?php\nfunction f($ys, $m = 1) { $s = $m;\n foreach ($ys as $y) { $s += $y; }"
        " if ($s) { $s = 2; } else { $s = $s; } return $m; }",
    ),
    "ruby": (
        "def f(xs, n: 1)\n  t = n # one\n  for x in xs do t += x end\n  t -= 1 while t > n\n"
        "  a, b = t, n\n  if a then b = a else a = b end\n  b\nend",
        "def f(ys, m: 1)\n  s = m\n  for y in ys do s += y end\n  s -= m while s > m\n"
        "  a, b = m, s\n  if a then b = a end\n  a\nend",
    ),
    "csharp": (
        "int F(int[] xs) { int t = 0; foreach (var x in xs) { t += x; } // sum\n"
        " for (int i = 0; i < t; i++) { t = i; } return t; }",
        "int F(int[] ys) { int s = 0; foreach (var y in ys) { s += y; }\n"
        " for (int i = 0; i < s; i++) { s = s; } return s; }",
    ),
    "c": (
        "int f(int *xs, int n) { int t = 0; for (int i = 0; i < n; i++) { t += xs[i]; } /* sum */"
        " if (t) t = 1; else t = n; return t; }",
        "int f(int *ys, int m) { int s = 0; for (int i = 0; i < m; i++) { s += ys[i]; }"
        " if (s) s = m; return s; }",
    ),
    "cpp": (
        "int f(std::vector<int> xs) { int t = 0; for (auto& x : xs) { t += x; } // sum\n"
        " while (t > 9) { t--; t = t - 1; } return t; }",
        "int f(std::vector<int> ys) { int s = 0; for (auto& y : ys) { s += y; }\n"
        " while (s > 9) { ys--; s = s - 1; } return ys; }",
    ),
}
"""(reference, prediction) by language."""
