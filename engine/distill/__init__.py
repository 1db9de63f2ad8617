"""What is learnt from a teacher, as pure functions of tensors and masks; docs/objectives.md has every formula.

`rows` compares rows of scores; `objectives` has the nine objectives; `layer_maps`, `mixup`, `consistency` and
`transport` are what stages combine them with; `terms` binds a preset's stage to them, which is what the loop calls.
"""
