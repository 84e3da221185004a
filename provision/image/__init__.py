"""Golden images: from a definition to a signed artefact, stage by stage.

Every stage is a module of its own that is given the outputs of earlier ones and fills a folder;
`provision.image.build` runs them, and keeps what they made by what they made it from.
"""
