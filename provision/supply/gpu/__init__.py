"""Where a GPU's kernel module comes from, what is locked with it, and which driver CUDA needs."""
