"""Files: containers of tensors, JSON lines, atomic writes, and PyTorch archives read without executing them."""
