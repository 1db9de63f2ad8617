"""crild as Python sees it: the only name that an installation puts beside other packages.

The code is in the packages `engine` and `crild_tui`. Other programs may have packages of these names, so neither stands
in the environment itself: the wheel carries both in `crild/_packages`, and an editable install exposes this package
alone. `crild.process` makes them importable in crild's own processes.
"""
