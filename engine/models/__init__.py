"""Teachers and students: load, build and save models, and everything that differs from one family of models to another.

`load` reads teachers (`hub` fetches files, `checkpoint` checks them), `students` builds students, `export` saves models.
`families` says where each family's parts are; `layer_inputs`, `head_forward`, `depth` and `family_rules` hold what a
family does differently. `partial_encoder` runs a model only as far as objectives look. `family_rules`,
`layer_selection` and `model_files` import no torch.
"""
