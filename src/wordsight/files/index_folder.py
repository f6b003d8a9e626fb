"""Names of the files and folders of an index."""

META = "index.json"
MODEL = "model"  # the folder of its model
