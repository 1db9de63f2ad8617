"""What a student learns from a teacher, as pure functions of tensors and masks; docs/objectives.md has every formula.

`objectives` holds the objectives and their registry, `row_scores` how rows of scores are compared. `layer_maps`,
`random_map`, `transport`, `layer_attention`, `annealing`, `mixup` and `consistency` are what stages combine them with.
`activations` holds the tensors that are compared, and `terms` binds a preset's stage to two models: the loop calls that.
`layer_maps` and `model_shape` import no torch.
"""
