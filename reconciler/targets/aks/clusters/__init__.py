"""AKS clusters that a target asks for: made, kept as Git has them, and deleted only where that was said twice."""
