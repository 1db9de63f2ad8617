"""Tables over finished records: plain rows of data, drawn by whoever shows them."""
