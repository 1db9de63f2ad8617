"""The product's objectives against what the paper's released code computed on one tiny batch (../shared/parity)."""
