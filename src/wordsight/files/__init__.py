"""Files and folders that appear whole, and the formats every room reads: TOML, JSON, npy."""
