"""Objectives, layer maps, mixup, consistency and transport, on small random tensors."""
