"""Tasks and corpora: where examples come from, how they become tokens, and in what order they are batched."""
