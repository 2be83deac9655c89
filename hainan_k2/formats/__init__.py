"""Models in files: our directories, and the weights of other toolkits."""
