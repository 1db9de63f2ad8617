"""Runs in TensorBoard, W&B, MLflow and trackio: a process for each run and tracker that reads events and sends them on."""
