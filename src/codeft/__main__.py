"""`python -m codeft VERB …` is `codeft VERB …`."""

from codeft.cli import main

if __name__ == "__main__":
    main()
