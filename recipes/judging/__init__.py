"""What a model is worth on labelled data, with intervals, and whether it keeps its contracts."""
